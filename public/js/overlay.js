// Draws what moves above the ground: the route, the pins and the cars. One canvas, drawn only when something is different.

import { nearestOnLine } from './geo.js';

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./cars.js').Car} Car
 * @typedef {import('./view.js').View} View
 * @typedef {import('./theme.js').Palette} Palette
 * @typedef {{points: Coordinate[], kind: 'drive' | 'ahead'}} Line  `drive`: what the car drives now; `ahead`: what follows.
 */

const headings = 64;
const fade = 0.45;

export class Overlay {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import('./cars.js').CarStore} store
   * @param {View} view
   * @param {Palette} palette
   */
  constructor(canvas, store, view, palette) {
    this.canvas = canvas;
    this.pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    this.store = store;
    this.view = view;
    this.palette = palette;
    this.ratio = 1;
    /** @type {string | null} */ this.hovered = null;
    /** @type {string | null} */ this.chosen = null;
    /** Cars are grey: nothing new is heard of them. */
    this.stale = false;
    /** Other cars stand back while a trip is followed. */
    this.tracking = false;
    /** @type {Line[]} */ this.lines = [];
    /** @type {Coordinate | null} */ this.pickup = null;
    /** @type {Coordinate | null} */ this.dropoff = null;
    this.framesDrawn = 0;
    this.changes = 0;
    this.seen = '';
    this.lastDraw = 0;
    /** @type {{key: string, canvas: HTMLCanvasElement, cell: number} | null} */
    this.atlas = null;
    this.calm = matchMedia('(prefers-reduced-motion: reduce)');
  }

  /** Something besides the cars is different. */
  touch() {
    this.changes++;
  }

  /** @param {Palette} palette */
  recolour(palette) {
    this.palette = palette;
    this.touch();
  }

  /** @param {number} ratio */
  resize(ratio) {
    this.ratio = ratio;
    this.canvas.width = Math.round(this.view.width * ratio);
    this.canvas.height = Math.round(this.view.height * ratio);
    this.touch();
  }

  /** Half a car's length in CSS pixels at this zoom. */
  get carSize() {
    return Math.max(4.5, Math.min(16, 7.5 * 1.42 ** (this.view.zoom - 13.4)));
  }

  /** Draws if there is anything new to see. @param {number} now milliseconds, of the frame */
  paint(now) {
    const { view, store } = this;
    const state = `${view.x},${view.y},${view.zoom},${store.revision},${this.changes}`;
    if (state === this.seen) {
      if (now > store.busyUntil + 50 || this.calm.matches) return;
      // A car at 14 m/s moves a third of a pixel between two frames: drawing more often shows nothing.
      if (now - this.lastDraw < Math.min(125, (340 * view.metresPerPixel) / 14) - 4) return;
    }
    this.seen = state;
    this.lastDraw = now;
    this.draw(now);
    this.framesDrawn++;
  }

  /** @param {number} now */
  draw(now) {
    const { pen, view, ratio } = this;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const own = this.store.own ? this.store.cars.get(this.store.own) : undefined;
    for (const line of this.lines) this.drawLine(line, line.kind === 'drive' && own ? own.world(now) : null);
    this.drawCars(now);
    if (this.pickup) this.drawPin(view.pixel(this.pickup), this.palette.pickup, false);
    if (this.dropoff) this.drawPin(view.pixel(this.dropoff), this.palette.carOwn, true);
  }

  /** @param {Line} line @param {[number, number] | null} car world coordinates: what lies behind it is faded */
  drawLine(line, car) {
    const { pen, view, palette } = this;
    if (line.points.length < 2) return;
    const pixels = line.points.map((at) => view.pixel(at));
    const stroke = (/** @type {[number, number][]} */ points, /** @type {string} */ colour, /** @type {number} */ width) => {
      pen.beginPath();
      points.forEach(([x, y], i) => (i === 0 ? pen.moveTo(x, y) : pen.lineTo(x, y)));
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.stroke();
    };
    pen.lineCap = pen.lineJoin = 'round';
    if (line.kind === 'ahead') {
      pen.globalAlpha = 0.9;
      stroke(pixels, palette.halo, 7);
      pen.setLineDash([1, 9]);
      stroke(pixels, palette.carOwn, 5);
      pen.setLineDash([]);
      pen.globalAlpha = 1;
      return;
    }
    /** @type {[number, number][]} */
    let behind = [];
    let ahead = pixels;
    if (car) {
      const at = /** @type {[number, number]} */ ([
        (car[0] - view.x) * view.scale + view.width / 2,
        (car[1] - view.y) * view.scale + view.height / 2,
      ]);
      const { index, share } = nearestOnLine(pixels, at);
      const [a, b] = [pixels[index - 1], pixels[index]];
      const cut = /** @type {[number, number]} */ ([a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share]);
      behind = [...pixels.slice(0, index), cut];
      ahead = [cut, ...pixels.slice(index)];
    }
    pen.globalAlpha = 0.3;
    if (behind.length > 1) stroke(behind, palette.carOwn, 5);
    pen.globalAlpha = 1;
    stroke(ahead, palette.halo, 9.5);
    stroke(ahead, palette.carOwn, 5.5);
  }

  /** @param {number} now */
  drawCars(now) {
    const { pen, store } = this;
    const size = this.carSize;
    const atlas = this.makeAtlas(size);
    const marked = new Set([store.own, this.chosen].filter((id) => id !== null));
    pen.globalAlpha = this.tracking ? fade : 1;
    for (const car of store.cars.values()) {
      if (!marked.has(car.id)) this.drawCar(car, now, atlas, this.stale ? 2 : 0, 1);
    }
    pen.globalAlpha = 1;
    for (const id of marked) {
      const car = store.cars.get(/** @type {string} */ (id));
      if (!car) continue;
      this.ring(car, now, size * 1.5 + 8, 0.28, true);
      this.drawCar(car, now, atlas, this.stale || car.stale ? 2 : 1, 1.5);
    }
    const hovered = this.hovered && !marked.has(this.hovered) ? store.cars.get(this.hovered) : undefined;
    if (hovered) this.ring(hovered, now, size + 7, 1, false);
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
  }

  /** @param {Car} car @param {number} now @param {{canvas: HTMLCanvasElement, cell: number}} atlas @param {number} row @param {number} grown */
  drawCar(car, now, atlas, row, grown) {
    const { view, ratio } = this;
    const [wx, wy] = car.world(now);
    const x = (wx - view.x) * view.scale + view.width / 2;
    const y = (wy - view.y) * view.scale + view.height / 2;
    const size = (atlas.cell / ratio) * grown / 1.5;
    if (x < -size || y < -size || x > view.width + size || y > view.height + size) return;
    const step = ((Math.round((car.heading(now) / 360) * headings) % headings) + headings) % headings;
    this.pen.drawImage(
      atlas.canvas, step * atlas.cell, row * atlas.cell, atlas.cell, atlas.cell,
      x - size / 2, y - size / 2, size, size,
    );
  }

  /** @param {Car} car @param {number} now @param {number} radius @param {number} alpha @param {boolean} filled */
  ring(car, now, radius, alpha, filled) {
    const { pen, view, palette } = this;
    const [wx, wy] = car.world(now);
    pen.beginPath();
    pen.arc((wx - view.x) * view.scale + view.width / 2, (wy - view.y) * view.scale + view.height / 2, radius, 0, 2 * Math.PI);
    pen.globalAlpha = alpha;
    if (filled) {
      pen.fillStyle = palette.carOwn;
      pen.fill();
    } else {
      pen.strokeStyle = palette.carOwn;
      pen.lineWidth = 2.5;
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  /** Every heading of a car in three colours (available, own, grey), drawn once for each size. @param {number} size */
  makeAtlas(size) {
    const { palette, ratio } = this;
    const half = Math.round(size * 1.5 * ratio * 2) / 2;
    const key = `${half}|${palette.land}`;
    if (this.atlas?.key === key) return this.atlas;
    const cell = Math.ceil(half * 3) + 2;
    const canvas = document.createElement('canvas');
    canvas.width = cell * headings;
    canvas.height = cell * 3;
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    [palette.carAvailable, palette.carOwn, palette.carIdle].forEach((colour, row) => {
      for (let step = 0; step < headings; step++) {
        pen.setTransform(1, 0, 0, 1, step * cell + cell / 2, row * cell + cell / 2);
        pen.rotate((step / headings) * 2 * Math.PI);
        drawShape(pen, half, colour, palette);
      }
    });
    this.atlas = { key, canvas, cell };
    return this.atlas;
  }

  /** @param {[number, number]} at @param {string} colour @param {boolean} square */
  drawPin([x, y], colour, square) {
    const { pen, palette } = this;
    pen.save();
    pen.translate(x, y);
    pen.shadowColor = palette.shadow;
    pen.shadowBlur = 6 * this.ratio;
    pen.shadowOffsetY = 2 * this.ratio;
    pen.beginPath();
    pen.moveTo(0, 0);
    pen.bezierCurveTo(-5, -9, -13, -14, -13, -23);
    pen.arc(0, -23, 13, Math.PI, 2 * Math.PI);
    pen.bezierCurveTo(13, -14, 5, -9, 0, 0);
    pen.fillStyle = colour;
    pen.fill();
    pen.shadowColor = 'transparent';
    pen.lineWidth = 2;
    pen.strokeStyle = palette.pinEdge;
    pen.stroke();
    pen.fillStyle = palette.pinEdge;
    pen.beginPath();
    if (square) pen.roundRect(-4.5, -27.5, 9, 9, 1.5);
    else pen.arc(0, -23, 5, 0, 2 * Math.PI);
    pen.fill();
    pen.restore();
  }
}

/** A car that heads north, its middle at the origin. @param {CanvasRenderingContext2D} pen @param {number} half @param {string} colour @param {Palette} palette */
function drawShape(pen, half, colour, palette) {
  const wide = half * 0.54;
  const long = half;
  const edge = Math.max(1, half * 0.12);
  const box = (/** @type {number} */ inset, /** @type {number} */ radius) => {
    pen.beginPath();
    pen.roundRect(-wide + inset, -long + inset, 2 * (wide - inset), 2 * (long - inset), radius);
    pen.fill();
  };
  pen.shadowColor = palette.shadow;
  pen.shadowBlur = half * 0.25;
  pen.fillStyle = palette.carEdge;
  box(0, half * 0.36);
  pen.shadowColor = 'transparent';
  pen.fillStyle = colour;
  box(edge, half * 0.28);
  pen.fillStyle = palette.carGlass;
  pen.beginPath();
  pen.roundRect(-wide * 0.58, -long * 0.46, wide * 1.16, long * 0.3, half * 0.09);
  pen.roundRect(-wide * 0.5, long * 0.46, wide, long * 0.16, half * 0.06);
  pen.fill();
}
