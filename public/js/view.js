// What part of the world the map shows, and the way between world coordinates and the window's pixels.

import { clamp, latitude, longitude, mercatorX, mercatorY } from './geo.js';

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./types.js').Padding} Padding
 */

const zoomLowest = 11;
const zoomHighest = 18.5;
/** How far the centre may leave the city, degrees. */
const leash = 0.12;

export class View {
  /** @param {[number, number, number, number]} bbox the city: west, south, east, north */
  constructor(bbox) {
    this.x = mercatorX((bbox[0] + bbox[2]) / 2);
    this.y = mercatorY((bbox[1] + bbox[3]) / 2);
    this.zoom = 13;
    this.width = 1;
    this.height = 1;
    /** What panels cover, CSS pixels from each side. @type {Padding} */
    this.padding = { top: 0, right: 0, bottom: 0, left: 0 };
    this.west = mercatorX(bbox[0] - leash);
    this.east = mercatorX(bbox[2] + leash);
    this.north = mercatorY(bbox[3] + leash / 2);
    this.south = mercatorY(bbox[1] - leash / 2);
    /** @type {{from: [number, number, number], to: [number, number, number], start: number, ms: number} | null} */
    this.easing = null;
    this.calm = matchMedia('(prefers-reduced-motion: reduce)');
  }

  /** The world's width in CSS pixels. */
  get scale() {
    return 512 * 2 ** this.zoom;
  }

  /** Metres a CSS pixel. */
  get metresPerPixel() {
    return (40_075_016 * Math.cos((latitude(this.y) * Math.PI) / 180)) / this.scale;
  }

  /** @param {Coordinate} at @returns {[number, number]} CSS pixels */
  pixel(at) {
    const { scale } = this;
    return [
      (mercatorX(at[0]) - this.x) * scale + this.width / 2,
      (mercatorY(at[1]) - this.y) * scale + this.height / 2,
    ];
  }

  /** @param {number} px @param {number} py @returns {Coordinate} */
  coordinate(px, py) {
    const { scale } = this;
    return [
      longitude(this.x + (px - this.width / 2) / scale),
      latitude(this.y + (py - this.height / 2) / scale),
    ];
  }

  /** The middle of what no panel covers, CSS pixels. @returns {[number, number]} */
  get middle() {
    const { top, right, bottom, left } = this.padding;
    return [(left + this.width - right) / 2, (top + this.height - bottom) / 2];
  }

  /** west, south, east, north of the window and a margin around it. @returns {[number, number, number, number]} */
  bounds(margin = 0) {
    const [west, north] = this.coordinate(-this.width * margin, -this.height * margin);
    const [east, south] = this.coordinate(this.width * (1 + margin), this.height * (1 + margin));
    return [west, south, east, north];
  }

  keepNear() {
    this.x = clamp(this.x, this.west, this.east);
    this.y = clamp(this.y, this.north, this.south);
    this.zoom = clamp(this.zoom, zoomLowest, zoomHighest);
  }

  /** @param {number} dx CSS pixels the ground moves @param {number} dy */
  pan(dx, dy) {
    this.easing = null;
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.keepNear();
  }

  /** Zooms about a pixel that stays where it is. @param {number} px @param {number} py @param {number} by */
  zoomAt(px, py, by) {
    this.easing = null;
    const before = this.scale;
    this.zoom = clamp(this.zoom + by, zoomLowest, zoomHighest);
    const moved = 1 / before - 1 / this.scale;
    this.x += (px - this.width / 2) * moved;
    this.y += (py - this.height / 2) * moved;
    this.keepNear();
  }

  /** The view's centre that puts a point in the middle of what no panel covers. @param {number} x world @param {number} y @param {number} zoom */
  centredOn(x, y, zoom) {
    const scale = 512 * 2 ** zoom;
    const [mx, my] = this.middle;
    return /** @type {[number, number, number]} */ ([
      x - (mx - this.width / 2) / scale,
      y - (my - this.height / 2) / scale,
      zoom,
    ]);
  }

  /** Puts a world point in the middle at once. @param {number} x @param {number} y */
  follow(x, y) {
    this.easing = null;
    [this.x, this.y] = this.centredOn(x, y, this.zoom);
    this.keepNear();
  }

  /** @param {Coordinate} at @param {number} [zoom] */
  glideTo(at, zoom = this.zoom) {
    this.ease(this.centredOn(mercatorX(at[0]), mercatorY(at[1]), zoom), 350);
  }

  /** Shows all points, none of them under a panel. @param {Coordinate[]} points @param {{most?: number, ms?: number}} [options] */
  fit(points, { most = 16, ms = 450 } = {}) {
    if (points.length === 0) return;
    const xs = points.map((p) => mercatorX(p[0]));
    const ys = points.map((p) => mercatorY(p[1]));
    const [west, east, north, south] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const margin = Math.min(56, this.width / 10, this.height / 10);
    const width = Math.max(60, this.width - this.padding.left - this.padding.right - 2 * margin);
    const height = Math.max(60, this.height - this.padding.top - this.padding.bottom - 2 * margin);
    const wide = Math.log2(width / 512 / Math.max(east - west, 1e-9));
    const high = Math.log2(height / 512 / Math.max(south - north, 1e-9));
    const zoom = clamp(Math.min(wide, high), zoomLowest, most);
    this.ease(this.centredOn((west + east) / 2, (north + south) / 2, zoom), ms);
  }

  /** @param {[number, number, number]} to x, y, zoom @param {number} ms */
  ease(to, ms) {
    if (this.calm.matches || ms === 0) {
      [this.x, this.y, this.zoom] = to;
      this.easing = null;
      this.keepNear();
      return;
    }
    this.easing = { from: [this.x, this.y, this.zoom], to, start: performance.now(), ms };
  }

  /** Moves an easing on. @param {number} now milliseconds, of the frame */
  step(now) {
    if (!this.easing) return;
    const { from, to, start, ms } = this.easing;
    const t = clamp((now - start) / ms, 0, 1);
    const k = 1 - (1 - t) ** 3;
    this.x = from[0] + (to[0] - from[0]) * k;
    this.y = from[1] + (to[1] - from[1]) * k;
    this.zoom = from[2] + (to[2] - from[2]) * k;
    if (t === 1) this.easing = null;
    this.keepNear();
  }
}
