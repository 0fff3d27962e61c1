// The list of images, and the answer of the study that an image belongs to.

import {element} from "./element.js";

export function drawList(box, items, shown, onShow) {
  const hadFocus = box.contains(document.activeElement);
  const numbers = new Map(); // of studies with several images, by their name
  const counts = Map.groupBy(items.filter((item) => item.answer?.study), (item) => item.answer.study);
  for (const [study, members] of counts) if (members.length > 1) numbers.set(study, numbers.size + 1);
  box.replaceChildren(...items.map((item) => drawItem(item, item === shown, numbers, onShow)));
  if (hadFocus) box.querySelector(":checked")?.focus();
}

function drawItem(item, isShown, numbers, onShow) {
  const text = describe(item, numbers);
  const input = element("input", {type: "radio", name: "image", checked: isShown});
  input.setAttribute("aria-label", `${item.name}: ${text}`);
  input.addEventListener("change", () => onShow(item));
  const state = element("span", {className: item.state === "failed" ? "state bad" : "state", textContent: text});
  return element("label", {title: item.name}, [
    input, element("span", {className: "name", textContent: item.name}), state,
  ]);
}

function describe(item, numbers) {
  if (item.state === "failed") return item.error;
  if (item.state !== "done") return item.state === "sent" ? "at work …" : "waiting";
  const {findings, warnings, study, view} = item.answer;
  const numCalled = Object.values(findings).filter((finding) => finding.called).length;
  const parts = [`${numCalled} above`];
  if (view) parts.push(view);
  if (numbers.has(study)) parts.push(`study ${numbers.get(study)}`);
  if (warnings.length) parts.push("warning");
  return parts.join(", ");
}

// {text, findings} of the study of an image, by the model's rule; null where it has one image alone.
export function describeStudy(items, shown, model) {
  const study = shown?.answer?.study;
  if (!study) return null;
  const members = items.filter((item) => item.answer?.study === study);
  const counted = members.filter((item) => item.answer.is_counted);
  if (members.length < 2 || !counted.length) return null;
  const findings = {};
  for (const [name, {threshold}] of Object.entries(counted[0].answer.findings)) {
    const all = counted.map((item) => item.answer.findings[name].probability);
    const probability = model.combine === "max" ? Math.max(...all) : all.reduce((a, b) => a + b) / all.length;
    findings[name] = {probability, threshold, called: probability >= threshold};
  }
  const which = model.combine === "max" ? "largest" : "mean";
  const leftOut = members.length - counted.length;
  return {findings, text: `Study: ${which} of ${counted.length} images${leftOut ? `, ${leftOut} left out` : ""}`};
}
