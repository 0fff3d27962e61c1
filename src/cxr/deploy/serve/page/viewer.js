// The radiograph on its canvas: window and level, zoom, pan, invert, and a heat map over it.

const START = {level: 128, width: 255, zoom: 1, x: 0, y: 0, isInverted: false};

export class Viewer {
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.view = {...START};
    this.grey = null; // Uint8Array of the picture
    this.heat = null; // {canvas, place}: place in shares of the picture's size
    this.opacity = 0.5;
    this.drag = "window";
    this.pointers = new Map();
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), {passive: false});
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.reset());
  }

  // Shows an ImageBitmap, or nothing.
  show(bitmap) {
    this.heat = null;
    this.grey = this.picture = null;
    if (bitmap) {
      this.picture = new OffscreenCanvas(bitmap.width, bitmap.height);
      const context = this.picture.getContext("2d", {willReadFrequently: true});
      context.drawImage(bitmap, 0, 0);
      this.pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
      this.grey = Uint8Array.from({length: this.pixels.data.length / 4}, (_, i) => this.pixels.data[4 * i]);
    }
    this.reset();
  }

  reset() {
    this.change(START);
  }

  change(part) {
    Object.assign(this.view, part);
    const {view} = this;
    view.level = clamp(view.level, 0, 255);
    view.width = clamp(view.width, 1, 510);
    view.zoom = clamp(view.zoom, 0.5, 20);
    if ("level" in part || "width" in part || "isInverted" in part) this.applyWindow();
    this.draw();
    this.onChange(view);
  }

  applyWindow() {
    if (!this.grey) return;
    const {level, width, isInverted} = this.view;
    const table = Uint8ClampedArray.from({length: 256}, (_, grey) => {
      const share = clamp((grey - (level - width / 2)) / width, 0, 1);
      return 255 * (isInverted ? 1 - share : share);
    });
    const data = new Uint32Array(this.pixels.data.buffer);
    for (let i = 0; i < this.grey.length; i++) data[i] = 0xff000000 | (table[this.grey[i]] * 0x010101);
    this.picture.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  // Pixels of the screen for one of the picture, at zoom 1: the whole picture fits.
  fit() {
    return Math.min(this.canvas.width / this.picture.width, this.canvas.height / this.picture.height);
  }

  draw() {
    const {canvas, view} = this;
    const dense = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * dense), Math.round(canvas.clientHeight * dense)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.picture || !width) return;
    const scale = this.fit() * view.zoom;
    context.setTransform(scale, 0, 0, scale, width / 2 + view.x * dense, height / 2 + view.y * dense);
    context.translate(-this.picture.width / 2, -this.picture.height / 2);
    context.imageSmoothingEnabled = scale < 4;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.picture, 0, 0);
    if (this.heat) this.drawHeat(context);
  }

  drawHeat(context) {
    const {width, height} = this.picture;
    const {canvas, place} = this.heat;
    context.beginPath();
    context.rect(0, 0, width, height); // padding lies outside
    context.clip();
    context.globalAlpha = this.opacity;
    context.imageSmoothingEnabled = true;
    context.drawImage(canvas, place.x * width, place.y * height, place.width * width, place.height * height);
    context.globalAlpha = 1;
  }

  // Zooms about a place on the screen, by default the middle.
  zoomBy(factor, x = 0, y = 0) {
    const zoom = clamp(this.view.zoom * factor, 0.5, 20);
    const by = zoom / this.view.zoom;
    this.change({zoom, x: x + (this.view.x - x) * by, y: y + (this.view.y - y) * by});
  }

  wheel(event) {
    event.preventDefault();
    const {x, y} = this.fromMiddle(event);
    this.zoomBy(Math.exp(-clamp(event.deltaY, -200, 200) / 400), x, y);
  }

  fromMiddle(event) {
    const box = this.canvas.getBoundingClientRect();
    return {x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2};
  }

  down(event) {
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch { /* the pointer has gone already */ }
    this.pointers.set(event.pointerId, this.fromMiddle(event));
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.fromMiddle(event);
    const [dx, dy] = [now.x - before.x, now.y - before.y];
    if (this.pointers.size > 1) {
      this.pinch(event.pointerId, before, now);
    } else if (this.drag === "pan" || event.buttons > 1) {
      this.change({x: this.view.x + dx, y: this.view.y + dy});
    } else {
      this.change({width: this.view.width + dx, level: this.view.level + dy});
    }
    this.pointers.set(event.pointerId, now);
  }

  pinch(id, before, now) {
    const other = [...this.pointers].find(([key]) => key !== id)[1];
    const [was, is] = [before, now].map((at) => Math.hypot(at.x - other.x, at.y - other.y));
    this.change({x: this.view.x + (now.x - before.x) / 2, y: this.view.y + (now.y - before.y) / 2});
    if (was > 0) this.zoomBy(is / was, (now.x + other.x) / 2, (now.y + other.y) / 2);
  }
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
