// The page: which images there are, which is shown, and which finding is chosen.

import {Server, ServerError} from "./api.js";
import {element, find} from "./element.js";
import {filesOf, named} from "./files.js";
import {drawBars, drawMeaning, words} from "./findings.js";
import {paint, paintScale} from "./heat.js";
import {listenToKeys} from "./keys.js";
import {drawList, describeStudy} from "./images.js";
import {Viewer} from "./viewer.js";

const AT_ONCE = 5; // uploads: a browser has six connections, and one is for the image that is shown
const KEPT = 6; // pictures, with their maps
const server = new Server(askToken);
const state = {model: null, items: [], shown: null, finding: null, order: [], isStudy: false, names: []};
const viewer = new Viewer(find("canvas"), showView);

// 1. the model

async function start() {
  paintScale(find("colours"));
  try {
    state.model = await server.get("/model");
  } catch (error) {
    say(error instanceof ServerError ? error.message : "The server does not answer.");
    return;
  }
  const {name, backbone, size} = state.model;
  find("model").textContent = `${name}: ${backbone}, ${size} pixels`;
  if (!["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) find("machine").textContent = location.hostname;
  run();
}

function askToken() {
  find("ask").showModal();
  return new Promise((resolve) => {
    find("ask-form").onsubmit = () => resolve(find("token").value.trim());
  });
}

// 2. images: each is sent once when it comes, a few at a time

function add(files) {
  for (const {file, name} of files) {
    const item = {file, name, state: "waiting", error: "", answer: null, picture: null, maps: null};
    const most = state.model?.limits.max_bytes ?? Infinity;
    if (file.size > most) Object.assign(item, {state: "failed", error: `larger than ${most.toLocaleString("en")} bytes`});
    state.items.push(item);
  }
  if (!state.shown) show(state.items.find((item) => item.state !== "failed") ?? null);
  redrawList();
  run();
}

let numRunning = 0;
function run() {
  while (state.model && numRunning < AT_ONCE) {
    const item = state.items.find((one) => one.state === "waiting");
    if (!item) break;
    numRunning += 1;
    item.state = "sent";
    predict(item).finally(() => {
      numRunning -= 1;
      run();
    });
  }
}

async function predict(item) {
  try {
    const answer = await (await server.post("/predict", item.file)).json();
    item.answer = answer.images[0];
    item.error = item.answer.error;
  } catch (error) {
    item.error = error instanceof ServerError ? error.message : "cannot be read by the browser";
  }
  item.state = item.error ? "failed" : "done";
  if (item.state === "done" && (!state.shown || state.shown.state === "failed")) show(item);
  redrawListSoon();
  if (state.shown && (item === state.shown || item.answer?.study === state.shown.answer?.study)) redrawFindings();
}

// 3. the image that is shown

async function show(item) {
  state.shown = item;
  find("empty").hidden = Boolean(item);
  viewer.show(item?.picture ?? null);
  redrawList();
  redrawFindings();
  if (!item || item.state === "failed") return;
  try {
    await load(item);
  } catch (error) {
    if (item === state.shown && error instanceof ServerError && !item.error) say(`${item.name}: ${error.message}`);
    return;
  }
  if (item !== state.shown) return;
  viewer.show(item.picture);
  redrawFindings();
}

async function load(item) {
  if (!item.picture) {
    item.picture = await createImageBitmap(await (await server.post("/render", item.file)).blob());
  }
  if (!item.maps) item.maps = await (await server.post("/explain", item.file)).json();
  const kept = state.items.filter((one) => one.picture && one !== item && one !== state.shown);
  for (const old of kept.slice(0, Math.max(0, kept.length - KEPT))) {
    old.picture.close();
    Object.assign(old, {picture: null, maps: null});
  }
}

function step(by) {
  const items = state.items.filter((item) => item.state !== "failed");
  if (!items.length) return;
  show(items[(items.indexOf(state.shown) + by + items.length) % items.length]);
  find("list").querySelector(":checked")?.parentElement.scrollIntoView({block: "nearest"});
}

function clear() {
  state.items = [];
  show(null);
}

// 4. findings

function findingsShown() {
  const study = describeStudy(state.items, state.shown, state.model);
  find("study-switch").hidden = !study;
  if (study) find("study-text").textContent = study.text;
  return state.isStudy && study ? study.findings : state.shown?.answer?.findings ?? {};
}

function redrawFindings() {
  const answers = findingsShown();
  const names = Object.keys(answers);
  if (names.length && !names.includes(state.finding)) {
    // of those that are called, if any
    const called = names.filter((name) => answers[name].called);
    const asked = called.length ? called : names;
    state.finding = asked.reduce((a, b) => (answers[a].probability >= answers[b].probability ? a : b));
  }
  const hadFocus = find("bars").contains(document.activeElement);
  state.order = drawBars(find("bars"), answers, state.finding, find("order").value, choose);
  if (hadFocus) find("bars").querySelector(":checked")?.focus();
  find("bars-empty").hidden = names.length > 0;
  const failed = state.shown?.state === "failed";
  find("bars-empty").textContent = failed ? `This image cannot be read: ${state.shown.error}.`
    : state.shown ? "The model is at work …" : "Probabilities appear here.";
  const warnings = state.shown?.answer?.warnings ?? [];
  find("warnings").replaceChildren(...warnings.map((warning) => element("p", {textContent: `Warning: ${warning}`})));
  for (const id of ["heat", "meaning", "legend"]) find(id).hidden = !names.length;
  if (names.length) drawMeaning(find("meaning"), state.finding, answers[state.finding], state.model);
  redrawHeat();
}

function choose(name) {
  state.finding = name;
  redrawFindings();
}

function stepFinding(by) {
  const {order} = state;
  if (order.length) choose(order[(order.indexOf(state.finding) + by + order.length) % order.length]);
}

function redrawHeat() {
  const maps = state.shown?.maps;
  const isOn = Boolean(maps && state.finding && find("heat-on").checked && viewer.picture);
  find("scale").hidden = !isOn;
  viewer.heat = null;
  if (isOn) {
    const {place, image, top} = maps;
    const shares = {x: place.x / image.width, y: place.y / image.height,
      width: place.width / image.width, height: place.height / image.height};
    viewer.heat = {canvas: paint(maps.maps[state.finding], top), place: shares};
    const ticks = [0, top / 2, top].map((value) => element("span", {textContent: value.toFixed(1)}));
    find("scale-title").textContent = `${words(state.finding)}: contribution to its logit`;
    find("ticks").replaceChildren(...ticks);
  }
  viewer.opacity = find("opacity").value / 100;
  viewer.draw();
  showView(viewer.view);
}

// 5. what is seen

function redrawList() {
  const {items} = state;
  drawList(find("list"), items, state.shown, show);
  const numDone = items.filter((item) => ["done", "failed"].includes(item.state)).length;
  find("count").textContent = items.length ? `${numDone} of ${items.length}` : "";
  find("list-empty").hidden = items.length > 0;
  find("clear").hidden = !items.length;
}

// Thousands of images come faster than a list of thousands is drawn.
let isDue = false;
function redrawListSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    redrawList();
  }, Math.min(state.items.length, 1000));
}

function showView(view) {
  find("level").value = view.level;
  find("width").value = view.width;
  find("invert").setAttribute("aria-pressed", view.isInverted);
  const item = state.shown;
  const window = `level ${Math.round(view.level)}, width ${Math.round(view.width)}`;
  const zoom = `${Math.round(100 * view.zoom)} %${view.isInverted ? ", inverted" : ""}`;
  find("shown").textContent = item ? `${item.name}\n${window}\n${zoom}` : "";
  const heat = viewer.heat ? ` Heat map of ${words(state.finding)}.` : "";
  find("canvas").setAttribute("aria-label", item ? `Radiograph ${item.name}, ${window}, zoom ${zoom}.${heat}` : "No image");
}

function say(text) {
  find("message").textContent = text;
}

// 6. what the user does

function listen() {
  find("open-files").onclick = () => find("files").click();
  find("open-folder").onclick = () => find("folder").click();
  for (const id of ["files", "folder"]) {
    find(id).onchange = (event) => {
      add(named([...event.target.files]));
      event.target.value = "";
    };
  }
  find("open-help").onclick = () => find("help").showModal();
  find("clear").onclick = clear;
  find("level").oninput = (event) => viewer.change({level: Number(event.target.value)});
  find("width").oninput = (event) => viewer.change({width: Number(event.target.value)});
  find("invert").onclick = () => viewer.change({isInverted: !viewer.view.isInverted});
  find("reset").onclick = () => viewer.reset();
  find("zoom-in").onclick = () => viewer.zoomBy(1.25);
  find("zoom-out").onclick = () => viewer.zoomBy(0.8);
  find("heat-on").onchange = redrawHeat;
  find("opacity").oninput = redrawHeat;
  find("order").onchange = redrawFindings;
  find("study").onchange = (event) => {
    state.isStudy = event.target.checked;
    redrawFindings();
  };
  for (const input of document.querySelectorAll("input[name=drag]")) {
    input.onchange = () => (viewer.drag = input.value);
  }
  listenToDrops();
  listenToKeys({viewer, step, stepFinding});
}

function listenToDrops() {
  let depth = 0; // of elements that the dragged files are over
  const mark = (by) => {
    depth = Math.max(0, depth + by);
    document.body.classList.toggle("dropping", depth > 0);
  };
  addEventListener("dragenter", () => mark(1));
  addEventListener("dragleave", () => mark(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    mark(-depth);
    add(await filesOf(event.dataTransfer));
  });
}

listen();
start();
