// Everything about the choice of picture and versions but the picture itself.

function caption(side) {
  const version = find(view[side]);
  const facts = (version || current().original).facts.split(" · ").flatMap((fact, i) => [
    ...(i ? [element("span", { className: "dot", textContent: " · " })] : []),
    element("span", { textContent: fact }),
  ]);
  const label = version ? version.label : "Original";
  byId(`chip-${side}`).textContent = label;
  byId(`caption-${side}`).replaceChildren(
    element("span", { className: "side", textContent: side === "left" ? "Left" : "Right" }),
    element("strong", { textContent: label }),
    element("div", { className: "facts" }, ...facts),
  );
}

function remark() {
  const words = [];
  const through = SIDES.map((side) => (find(view[side]) || current().original).through);
  for (const one of new Set(through.filter(Boolean))) {
    words.push(`Shown through ${one}; the figures are those of the true pixels.`);
  }
  for (const side of SIDES) {
    if (panes[side] && !panes[side].fine) {
      words.push(`This browser cannot show the file on the ${side} (${panes[side].mime}).`);
    }
  }
  words.push(...current().missing.map((reason) => `Not shown: ${reason}.`));
  byId("remark").textContent = words.join(" ");
}

function rateOf(wanted) {
  const own = current().versions.find((version) => version.own && version.group === wanted);
  return `At the rate of ${own ? own.label : wanted}`;
}

function rates() {
  const wanted = group();
  const table = byId("rates");
  byId("rates-title").textContent = rateOf(wanted);
  const rows = current().versions.filter((version) => version.group === wanted).map((version) => {
    const button = element("button", { type: "button", textContent: version.label });
    button.title = "Show on the right";
    button.setAttribute("aria-pressed", String(view.right === version.key));
    button.addEventListener("click", () => { view.right = version.key; update(); });
    const cells = version.cells.map((text) => element("td", { className: "right", textContent: text }));
    return element("tr", { className: version.own ? "own" : "" }, element("td", {}, button), ...cells);
  });
  // Buttons that are replaced lose the focus that the keyboard gave them.
  const held = table.tBodies[0].contains(document.activeElement);
  table.tBodies[0].replaceChildren(...rows);
  if (held) table.querySelector('[aria-pressed="true"]')?.focus({ preventScroll: true });
}

function selects() {
  for (const side of SIDES) {
    const options = [element("option", { value: "original", textContent: "Original" })];
    for (const wanted of current().groups) {
      options.push(element("optgroup", { label: rateOf(wanted) },
        ...current().versions.filter((version) => version.group === wanted).map((version) =>
          element("option", { value: version.key, textContent: version.label }))));
    }
    byId(side).replaceChildren(...options);
    byId(side).value = view[side];
  }
}

function groups() {
  const names = current().groups;
  const box = byId("groups");
  if (box.childElementCount !== names.length) {
    box.replaceChildren(...names.map((name) => {
      const button = element("button", { type: "button", textContent: name });
      button.addEventListener("click", () => chooseGroup(name));
      return button;
    }));
  }
  box.parentElement.hidden = names.length < 2;
  press("groups", (button) => button.textContent === group());
}

// Everything that follows from the choice of picture and versions.
function update() {
  byId("picture").value = String(view.picture);
  byId("position").textContent = `${view.picture + 1} of ${pictures.length}`;
  groups();
  selects();
  SIDES.forEach(caption);
  remark();
  rates();
  byId("thumbnails").childNodes.forEach((button, i) => {
    button.setAttribute("aria-pressed", String(i === view.picture));
    if (i === view.picture) {
      const strip = byId("thumbnails");
      strip.scrollLeft = clamp(strip.scrollLeft,
        button.offsetLeft + button.offsetWidth - strip.clientWidth + 8, button.offsetLeft - 8);
    }
  });
  refresh();
  changed();
}

function chooseGroup(wanted) {
  for (const side of SIDES) {
    const version = find(view[side]);
    if (!version) continue;
    const same = current().versions.find((other) =>
      other.group === wanted && other.family === version.family);
    view[side] = same ? same.key : settle("", wanted);
  }
  update();
}

function choosePicture(number) {
  const kept = group();
  view.picture = (number + pictures.length) % pictures.length;
  for (const side of SIDES) view[side] = settle(view[side], kept);
  view.x = view.y = 0.5;
  update();
}
