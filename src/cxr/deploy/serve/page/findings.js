// The bars of findings, and in words what the operating point of the chosen one means.

import {element} from "./element.js";

export const words = (name) => name.replaceAll("_", " ");

export function drawBars(box, answers, chosen, order, onChoose) {
  const rows = Object.entries(answers);
  if (order === "probability") rows.sort((a, b) => b[1].probability - a[1].probability);
  box.replaceChildren(...rows.map(([name, answer]) => drawBar(name, answer, name === chosen, onChoose)));
  return rows.map(([name]) => name);
}

function drawBar(name, {probability, threshold, called}, isChosen, onChoose) {
  const input = element("input", {type: "radio", name: "finding", value: name, checked: isChosen});
  const state = called ? "above" : "below";
  input.setAttribute("aria-label", `${words(name)}: probability ${probability.toFixed(2)}, ${state} `
    + `its operating point ${threshold.toFixed(2)}`);
  input.addEventListener("change", () => onChoose(name));
  const fill = element("span", {className: "fill"});
  fill.style.width = `${100 * probability}%`;
  const point = element("span", {className: "point"});
  point.style.left = `${100 * threshold}%`;
  return element("label", {className: called ? "called" : "", title: words(name)}, [
    input,
    element("span", {className: "name", textContent: words(name)}),
    element("span", {className: "track"}, [fill, point]),
    element("span", {className: "value", textContent: probability.toFixed(2)}),
  ]);
}

const share = (value) => (value === null ? "not defined" : `${Math.round(100 * value)} %`);
const interval = ({low, high}) => (low === null || high === null ? "" : `${share(low)} to ${share(high)}`);
const METRICS = [["sensitivity", "Sensitivity"], ["specificity", "Specificity"],
  ["ppv", "Positive predictive value"], ["npv", "Negative predictive value"]];

export function drawMeaning(box, name, answer, model) {
  const about = model.findings.find((finding) => finding.name === name);
  const evaluated = model.evaluation.findings[name];
  const relation = answer.called ? "at or above" : "below";
  const parts = [
    element("h3", {textContent: words(name)}),
    element("p", {textContent: `Probability ${answer.probability.toFixed(3)}, ${relation} the operating point `
      + `${answer.threshold.toFixed(3)}: ${model.thresholds}.`}),
  ];
  if (about.few_positives !== null) {
    parts.push(paragraph(`The operating point rests on ${about.few_positives} positive images, which is few.`));
  }
  if (model.calibrated && !about.is_calibrated) {
    parts.push(paragraph("This probability is not calibrated."));
  }
  if (evaluated) {
    parts.push(paragraph(`At this point on ${model.evaluation.rows}, 95 % intervals:`), table(evaluated));
    parts.push(paragraph(`${evaluated.num_positive} of ${evaluated.num} test images have it. `
      + "Predictive values are for that share; where the finding is rarer, fewer calls are right."));
  } else {
    parts.push(paragraph(model.evaluation.missing
      || "The evaluation report says nothing of this finding at this operating point."));
  }
  box.replaceChildren(...parts);
}

function table(evaluated) {
  const rows = METRICS.map(([key, title]) => element("tr", {}, [
    element("th", {scope: "row", textContent: title}),
    element("td", {textContent: share(evaluated[key].value)}),
    element("td", {className: "quiet", textContent: interval(evaluated[key])}),
  ]));
  return element("table", {}, [element("tbody", {}, rows)]);
}

const paragraph = (textContent) => element("p", {className: "quiet", textContent});
