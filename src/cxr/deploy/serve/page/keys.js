// Everything by keyboard; keys of a slider, a list or a field stay theirs.

import {find} from "./element.js";

const STEP = 8; // grey levels
const MOVE = 40; // pixels of the screen

export function listenToKeys({viewer, step, stepFinding}) {
  const {view} = viewer;
  const opacity = (by) => {
    find("opacity").value = Number(find("opacity").value) + by;
    find("opacity").dispatchEvent(new Event("input"));
  };
  const plain = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    ArrowUp: () => stepFinding(-1),
    ArrowDown: () => stepFinding(1),
    "+": () => viewer.zoomBy(1.25),
    "=": () => viewer.zoomBy(1.25),
    "-": () => viewer.zoomBy(0.8),
    w: () => viewer.change({y: view.y + MOVE}),
    s: () => viewer.change({y: view.y - MOVE}),
    a: () => viewer.change({x: view.x + MOVE}),
    d: () => viewer.change({x: view.x - MOVE}),
    "[": () => opacity(-10),
    "]": () => opacity(10),
    h: () => find("heat-on").click(),
    i: () => find("invert").click(),
    r: () => find("reset").click(),
    o: () => find("open-files").click(),
    f: () => find("open-folder").click(),
    "?": () => find("open-help").click(),
  };
  const shifted = {
    ArrowUp: () => viewer.change({level: view.level - STEP}),
    ArrowDown: () => viewer.change({level: view.level + STEP}),
    ArrowLeft: () => viewer.change({width: view.width - STEP}),
    ArrowRight: () => viewer.change({width: view.width + STEP}),
  };
  addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input[type=range], input[type=password], select");
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (isTyping && (event.key.startsWith("Arrow") || event.target.type === "password")) return;
    const act = event.shiftKey && event.key in shifted ? shifted[event.key] : plain[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
