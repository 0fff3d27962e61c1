// Heat maps: numbers on a coarse grid -> colours, on one scale for all findings of an image.

// matplotlib's inferno without its darkest quarter, which would look like lung; as cxr/explain/scale.py paints
const STOPS = [[82, 14, 109], [120, 28, 109], [165, 44, 96], [207, 68, 70], [237, 105, 37], [251, 155, 6],
  [247, 209, 61], [252, 255, 164]];
const FINE = 16;

function colour(share) {
  const at = Math.min(share, 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[low].map((value, i) => value + (at - low) * (STOPS[low + 1][i] - value));
}

// A canvas of a map [rows][columns] whose colour and opacity grow from 0 to `top`; below 0 it is clear.
export function paint(map, top) {
  const rows = map.length * FINE, columns = map[0].length * FINE;
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let y = 0, at = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, at += 4) {
      const share = Math.min(Math.max(between(map, x, y) / top, 0), 1);
      image.data.set(colour(share), at);
      image.data[at + 3] = 255 * share;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Linear between the middles of cells, and constant outside them, as OpenCV enlarges.
function between(map, x, y) {
  const last = [map.length - 1, map[0].length - 1];
  const [row, column] = [y, x].map((at, i) => Math.min(Math.max((at + 0.5) / FINE - 0.5, 0), last[i]));
  const [top, left] = [Math.floor(row), Math.floor(column)];
  const [down, right] = [Math.min(top + 1, last[0]), Math.min(left + 1, last[1])];
  const [v, u] = [row - top, column - left];
  return (1 - v) * ((1 - u) * map[top][left] + u * map[top][right])
    + v * ((1 - u) * map[down][left] + u * map[down][right]);
}

export function paintScale(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    const share = x / (canvas.width - 1);
    context.fillStyle = `rgb(${colour(share).map(Math.round).join(" ")} / ${share})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}
