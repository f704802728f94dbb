// The viewer's state, the files of the versions, and where the picture is on the stage.
// The page's script is this, captions.js and controls.js, one after the other in one function.

const byId = (id) => document.getElementById(id);
const pictures = Array.from(document.querySelectorAll("script[data-picture]"), (block) =>
  JSON.parse(block.textContent));

const SIDES = ["left", "right"];
const MOST_ZOOM = 16;
const stage = byId("stage");
const divider = byId("divider");

// What is looked at. `zoom` is "fit" or CSS pixels per picture pixel; `x` and `y` are the point
// of the picture in the middle of the stage, and `split` where the divider is in the part of the
// picture that can be seen, all from 0 to 1. `diff` is 0 for the slider, else what differences
// are multiplied by.
const view = { picture: 0, left: "original", right: "", zoom: "fit", diff: 0, split: 0.5, x: 0.5, y: 0.5 };
const panes = { left: null, right: null };  // {key, picture, image, address, mime, fine} of what a pane holds
let turn = 0;

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

// Files: decoded from the page when they are looked at, forgotten afterwards.

function bytes(base64) {
  const text = atob(base64);
  const array = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
  return array;
}

async function load(side) {
  const { picture } = view;
  const key = `${picture}-${current().versions.findIndex((version) => version.key === view[side]) + 1}`;
  if (panes[side] && panes[side].key === key) return panes[side];
  const block = byId(`file-${key}`);
  const blob = new Blob([bytes(block.textContent)], { type: block.dataset.mime });
  const image = element("img", { alt: "", draggable: false, decoding: "sync" });
  const loaded = new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
  });
  const address = image.src = URL.createObjectURL(blob);
  return { key, picture, image, address, mime: block.dataset.mime, fine: await loaded };
}

async function refresh() {
  const mine = ++turn;
  stage.setAttribute("aria-busy", "true");
  const loaded = await Promise.all(SIDES.map(load));
  const stale = mine !== turn;
  SIDES.forEach((side, i) => {
    const before = panes[side];
    if (before === loaded[i]) return;
    if (stale) {
      URL.revokeObjectURL(loaded[i].address);
      return;
    }
    if (before) URL.revokeObjectURL(before.address);
    panes[side] = loaded[i];
    byId(`pane-${side}`).replaceChildren(loaded[i].image);
  });
  if (stale) return;
  draw();
  stage.setAttribute("aria-busy", "false");
  stage.dispatchEvent(new Event("loaded"));
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
  stage.style.height = `${Math.round(clamp(wide * height / width, Math.min(160, wide), 0.68 * innerHeight))}px`;
  const at = place();
  view.x = at.w > at.across ? (at.across / 2 - at.left) / at.w : 0.5;
  view.y = at.h > at.down ? (at.down / 2 - at.top) / at.h : 0.5;
  for (const side of SIDES) {
    // The picture before this one stays as it was until this one is there.
    if (!panes[side] || panes[side].picture !== view.picture) continue;
    const style = panes[side].image.style;
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

// Draw, and let those know who follow what is seen.
function changed() {
  draw();
  stage.dispatchEvent(new Event("changed"));
}
