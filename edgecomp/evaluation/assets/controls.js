// What moves the view: the address, pointers, keys, buttons.

const DIFFERENCES = [0, 1, 4, 8];
const pointers = new Map();
let gesture = null;
let timer = 0;

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

function start() {
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
  stage.addEventListener("loaded", remark);
  window.addEventListener("hashchange", () => { if (read()) update(); });
  byId("viewer").hidden = false;
  new ResizeObserver(draw).observe(stage);
  window.addEventListener("resize", draw);
  view.right = settle("", current().groups[current().groups.length >> 1]);
  if (read()) byId("pictures").scrollIntoView({ behavior: "instant" });
  update();
  // The address stays as it was given until something is chosen, and follows when things rest.
  stage.addEventListener("changed", () => {
    clearTimeout(timer);
    timer = setTimeout(write, 300);
  });
}

if (pictures.length) start();
