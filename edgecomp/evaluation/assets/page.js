"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const pictures = Array.from(document.querySelectorAll("script[data-picture]"), (block) =>
    JSON.parse(block.textContent));
  if (!pictures.length) return;

  const SIDES = ["left", "right"];
  const MOST_ZOOM = 16;
  const DIFFERENCES = [0, 1, 4, 8];
  const stage = byId("stage");
  const divider = byId("divider");

  // What is looked at. `zoom` is "fit" or CSS pixels per picture pixel; `x` and `y` are the point
  // of the picture in the middle of the stage, and `split` where the divider is in the part of the
  // picture that can be seen, all from 0 to 1. `diff` is 0 for the slider, else what differences
  // are multiplied by.
  const view = { picture: 0, left: "original", right: "", zoom: "fit", diff: 0, split: 0.5, x: 0.5, y: 0.5 };
  const open = { left: null, right: null };  // {key, image, address} of what a pane holds
  const pointers = new Map();
  let gesture = null;
  let turn = 0;
  let timer = 0;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const current = () => pictures[view.picture];

  // Versions

  function find(key) {
    return current().versions.find((version) => version.key === key);
  }

  function familyOf(version) {
    return version.key.slice(0, -version.group.length);
  }

  // The version with that key, or else the one that comes nearest to what the key asks for.
  function settle(key, group) {
    if (key === "original" || find(key)) return key;
    const versions = current().versions;
    const stand = versions.find((version) => version.own && version.group === group)
      || versions.find((version) => version.own) || versions[0];
    return stand ? stand.key : "original";
  }

  function group() {
    const version = find(view.right) || find(view.left);
    if (version) return version.group;
    const groups = current().groups;
    return groups[groups.length >> 1];
  }

  function chooseGroup(wanted) {
    for (const side of SIDES) {
      const version = find(view[side]);
      if (!version) continue;
      const same = current().versions.find((other) =>
        other.group === wanted && familyOf(other) === familyOf(version));
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

  // Files: decoded from the page when they are looked at, forgotten afterwards.

  function bytes(base64) {
    const text = atob(base64);
    const array = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
    return array;
  }

  async function load(side) {
    const place = current().versions.findIndex((version) => version.key === view[side]) + 1;
    const key = `${view.picture}-${place}`;
    if (open[side] && open[side].key === key) return open[side];
    const block = byId(`file-${key}`);
    const blob = new Blob([bytes(block.textContent)], { type: block.dataset.mime });
    const image = element("img", { alt: "", draggable: false, decoding: "sync" });
    const loaded = new Promise((resolve) => {
      image.onload = () => resolve(true);
      image.onerror = () => resolve(false);
    });
    const address = image.src = URL.createObjectURL(blob);
    return { key, image, address, mime: block.dataset.mime, fine: await loaded };
  }

  async function refresh() {
    const mine = ++turn;
    stage.setAttribute("aria-busy", "true");
    const loaded = await Promise.all(SIDES.map(load));
    const stale = mine !== turn;
    SIDES.forEach((side, i) => {
      const before = open[side];
      if (before === loaded[i]) return;
      if (stale) {
        URL.revokeObjectURL(loaded[i].address);
        return;
      }
      if (before) URL.revokeObjectURL(before.address);
      open[side] = loaded[i];
      byId(`pane-${side}`).replaceChildren(loaded[i].image);
    });
    if (stale) return;
    remark();
    draw();
    stage.setAttribute("aria-busy", "false");
  }

  // Where the picture is

  function place() {
    const { width, height } = current();
    const across = stage.clientWidth;
    const down = stage.clientHeight;
    const fit = Math.min(across / width, down / height);
    const scale = view.zoom === "fit" ? fit : view.zoom;
    const [w, h] = [width * scale, height * scale];
    const start = (room, size, middle) =>
      size <= room ? (room - size) / 2 : clamp(room / 2 - middle * size, room - size, 0);
    const left = Math.round(start(across, w, view.x));
    const top = Math.round(start(down, h, view.y));
    const seen = [Math.max(left, 0), Math.min(left + w, across)];
    return { across, down, fit, scale, w, h, left, top, seen, roomy: w > across + 1 || h > down + 1 };
  }

  function draw() {
    const { width, height } = current();
    const wide = stage.clientWidth;
    stage.style.height = `${Math.round(clamp(wide * height / width, Math.min(240, wide), 0.68 * innerHeight))}px`;
    const at = place();
    view.x = at.w > at.across ? (at.across / 2 - at.left) / at.w : 0.5;
    view.y = at.h > at.down ? (at.down / 2 - at.top) / at.h : 0.5;
    for (const side of SIDES) {
      if (!open[side]) continue;
      const style = open[side].image.style;
      style.width = `${at.w}px`;
      style.height = `${at.h}px`;
      style.transform = `translate(${at.left}px, ${at.top}px)`;
    }
    const line = at.seen[0] + view.split * (at.seen[1] - at.seen[0]);
    byId("pane-right").style.clipPath = view.diff ? "none" : `inset(0 0 0 ${line}px)`;
    divider.style.left = `${line}px`;
    divider.setAttribute("aria-valuenow", String(Math.round(100 * view.split)));
    divider.setAttribute("aria-valuetext", `${Math.round(100 * view.split)} % from the left`);
    stage.classList.toggle("crisp", at.scale >= 2);
    stage.classList.toggle("roomy", at.roomy);
    stage.classList.toggle("difference", view.diff > 0);
    stage.dataset.diff = String(view.diff);
    stage.style.touchAction = at.roomy ? "none" : "pan-y";
    byId("scale").textContent = `${Math.round(100 * at.scale)} %`;
    press("zooms", (button) => button.dataset.zoom === String(view.zoom));
    press("views", (button) => Number(button.dataset.diff) === view.diff);
  }

  function press(id, isOn) {
    for (const button of byId(id).querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(isOn(button)));
    }
  }

  // The point of the picture at a point of the stage, from 0 to 1.
  function under({ x, y }) {
    const at = place();
    return [(x - at.left) / at.w, (y - at.top) / at.h];
  }

  // Zoom so that the point [u, v] of the picture lies at a point of the stage.
  function zoomAt([u, v], scale, { x, y }) {
    const { across, down, fit } = place();
    const next = clamp(scale, Math.min(fit, 1), MOST_ZOOM);
    view.zoom = Math.abs(next / fit - 1) < 0.01 ? "fit" : next;
    view.x = u + (across / 2 - x) / (current().width * next);
    view.y = v + (down / 2 - y) / (current().height * next);
    changed();
  }

  function pan(dx, dy) {
    const at = place();
    view.x -= dx / at.w;
    view.y -= dy / at.h;
    changed();
  }

  function split(value) {
    view.split = clamp(value, 0, 1);
    changed();
  }

  function splitAt(x) {
    const { seen } = place();
    split((x - seen[0]) / (seen[1] - seen[0]));
  }

  // Words around the picture

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
      if (open[side] && !open[side].fine) {
        words.push(`This browser cannot show the file on the ${side} (${open[side].mime}).`);
      }
    }
    words.push(...current().missing.map((reason) => `Not shown: ${reason}.`));
    byId("remark").textContent = words.join(" ");
  }

  function rates() {
    const wanted = group();
    const table = byId("rates");
    table.caption.textContent = `At the rate of edgecomp ${wanted}`;
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
        options.push(element("optgroup", { label: `At the rate of edgecomp ${wanted}` },
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

  // Draw, and let the address follow once things are at rest.
  function changed() {
    draw();
    clearTimeout(timer);
    timer = setTimeout(write, 300);
  }

  // The part of the address after "#": a link to what is seen.

  function write() {
    const words = new URLSearchParams({ picture: view.picture + 1, left: view.left, right: view.right });
    words.set("zoom", view.zoom === "fit" ? "fit" : String(+view.zoom.toFixed(2)));
    if (view.zoom !== "fit") {
      words.set("x", (100 * view.x).toFixed(1));
      words.set("y", (100 * view.y).toFixed(1));
    }
    if (view.diff) words.set("diff", view.diff);
    else words.set("split", (100 * view.split).toFixed(0));
    history.replaceState(null, "", `#${words}`);
  }

  function read() {
    const words = new URLSearchParams(location.hash.slice(1));
    const number = (name, low, high, otherwise) => {
      const value = words.has(name) ? Number(words.get(name)) : NaN;
      return Number.isFinite(value) ? clamp(value, low, high) : otherwise;
    };
    if (!words.has("picture")) return false;
    view.picture = Math.round(number("picture", 1, pictures.length, 1)) - 1;
    const middle = current().groups[current().groups.length >> 1];
    view.left = settle(words.get("left") || "original", middle);
    view.right = settle(words.get("right") || "", middle);
    view.zoom = number("zoom", 0.01, MOST_ZOOM, "fit");
    view.x = number("x", 0, 100, 50) / 100;
    view.y = number("y", 0, 100, 50) / 100;
    view.split = number("split", 0, 100, 50) / 100;
    view.diff = number("diff", 0, 8, 0);
    if (!DIFFERENCES.includes(view.diff)) view.diff = 4;
    return true;
  }

  // Pointers: the divider follows where nothing can be moved but it, or where it is taken itself;
  // elsewhere the picture moves. Two fingers zoom.

  function local(event) {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  function spread() {
    const [a, b] = pointers.values();
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pointers.size === 2) return;
    const point = local(event);
    pointers.set(event.pointerId, point);
    stage.setPointerCapture(event.pointerId);
    if (pointers.size === 2) {
      const start = spread();
      gesture = { kind: "pinch", held: under(start), ratio: place().scale / Math.max(start.distance, 1) };
      return;
    }
    const { roomy } = place();
    const slides = !view.diff && (!roomy || divider.contains(event.target));
    gesture = { kind: slides ? "split" : "pan", ...point };
    stage.classList.toggle("dragged", gesture.kind === "pan");
    // A finger may be about to scroll the page.
    if (slides && event.pointerType === "mouse") splitAt(point.x);
  });

  stage.addEventListener("pointermove", (event) => {
    if (!gesture || !pointers.has(event.pointerId)) return;
    const point = local(event);
    pointers.set(event.pointerId, point);
    if (gesture.kind === "pinch") {
      const now = spread();
      zoomAt(gesture.held, gesture.ratio * now.distance, now);
    } else if (gesture.kind === "split") {
      splitAt(point.x);
    } else {
      pan(point.x - gesture.x, point.y - gesture.y);
      gesture = { kind: "pan", ...point };
    }
  });

  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, (event) => {
      if (!pointers.delete(event.pointerId)) return;
      const [rest] = pointers.values();
      gesture = rest ? { kind: "pan", ...rest } : null;
      stage.classList.remove("dragged");
    });
  }

  // Otherwise the page itself scrolls under two fingers.
  stage.addEventListener("touchstart", (event) => {
    if (event.touches.length > 1 && event.cancelable) event.preventDefault();
  }, { passive: false });

  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const point = local(event);
    zoomAt(under(point), place().scale * Math.exp(-clamp(event.deltaY, -50, 50) / 100), point);
  }, { passive: false });

  // Keys

  divider.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.1 : 0.02;
    const moves = {
      ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step,
      PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1,
    };
    if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    split(view.split + moves[event.key]);
  });

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { scale, fit, roomy } = place();
    const less = Math.max(scale / 2, Math.min(fit, 1));
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key === "+" || event.key === "=") zoomTo(Math.min(2 * scale, MOST_ZOOM));
    else if (event.key === "-") zoomTo(less === fit ? "fit" : less);
    else if (event.key === "0") zoomTo("fit");
    else if (roomy && event.key in moves) pan(...moves[event.key]);
    else return;
    event.preventDefault();
  });

  // The middle of the stage stays where it is.
  function zoomTo(zoom) {
    view.zoom = zoom;
    changed();
  }

  // Set up

  pictures.forEach((picture, i) => {
    byId("picture").append(element("option", { value: String(i), textContent: picture.name }));
    const button = element("button", { type: "button", title: picture.name },
      element("img", { src: picture.thumbnail, alt: "" }),
      element("bdi", { textContent: picture.name }));
    button.addEventListener("click", () => choosePicture(i));
    byId("thumbnails").append(button);
  });
  byId("thumbnails").hidden = pictures.length === 1;
  byId("previous").disabled = byId("next").disabled = pictures.length === 1;
  byId("previous").addEventListener("click", () => choosePicture(view.picture - 1));
  byId("next").addEventListener("click", () => choosePicture(view.picture + 1));
  byId("picture").addEventListener("change", (event) => choosePicture(Number(event.target.value)));
  for (const side of SIDES) {
    byId(side).addEventListener("change", (event) => { view[side] = event.target.value; update(); });
  }
  byId("zooms").addEventListener("click", (event) => {
    const zoom = event.target.dataset.zoom;
    if (zoom) zoomTo(zoom === "fit" ? zoom : Number(zoom));
  });
  byId("views").addEventListener("click", (event) => {
    const diff = event.target.dataset.diff;
    if (diff === undefined) return;
    view.diff = Number(diff);
    changed();
  });
  window.addEventListener("hashchange", () => { if (read()) update(); });
  byId("viewer").hidden = false;
  new ResizeObserver(draw).observe(stage);
  window.addEventListener("resize", draw);
  view.right = settle("", current().groups[current().groups.length >> 1]);
  if (read()) byId("pictures").scrollIntoView({ behavior: "instant" });
  update();
  clearTimeout(timer);  // the address stays as it was given until something is chosen
})();
