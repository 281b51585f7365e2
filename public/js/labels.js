// Street and place names on the map: the weightiest first, none over another.

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./theme.js').Palette} Palette
 * @typedef {{text: string, x: number, y: number, angle: number, length: number, weight: number}} StreetName
 * @typedef {{text: string, x: number, y: number, weight: number, place: boolean}} PointName
 */

const fonts = '"Noto Sans", Inter, system-ui, sans-serif';

export class LabelLayer {
  /**
   * @param {import('./data.js').Roads} roads
   * @param {(at: Coordinate) => [number, number]} local the base map's own units
   */
  constructor(roads, local) {
    this.local = local;
    /** @type {PointName[]} */
    this.points = [];
    this.streets = this.streetNames(roads);
  }

  /**
   * Each name on the longest edge that bears it in each cell of about 700 m.
   * @param {import('./data.js').Roads} roads
   * @returns {StreetName[]}
   */
  streetNames(roads) {
    /** @type {Map<string, import('./data.js').Edge>} */
    const longest = new Map();
    for (const edge of roads.edges) {
      if (!edge.name || edge.length < 40) continue;
      const [lon, lat] = edge.points[0];
      const key = `${edge.name}|${Math.floor(lon * 90)}|${Math.floor(lat * 150)}`;
      const other = longest.get(key);
      if (!other || other.length < edge.length) longest.set(key, edge);
    }
    const names = [...longest.values()].map((edge) => {
      const points = edge.points.map(this.local);
      let best = 1;
      let length = 0;
      for (let i = 1; i < points.length; i++) {
        const l = Math.hypot(points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]);
        if (l > length) [length, best] = [l, i];
      }
      const [a, b] = [points[best - 1], points[best]];
      let angle = Math.atan2(b[1] - a[1], b[0] - a[0]);
      if (angle > Math.PI / 2) angle -= Math.PI;
      if (angle < -Math.PI / 2) angle += Math.PI;
      const weight = ['primary', 'secondary'].includes(edge.class) ? 2 : 1;
      return { text: edge.name, x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, angle, length: length * 1.25, weight };
    });
    return names.sort((a, b) => b.weight - a.weight || b.length - a.length);
  }

  /** @param {import('./data.js').Land} land */
  addPlaces(land) {
    const point = (/** @type {import('./data.js').Label} */ label, /** @type {boolean} */ place) => {
      const [x, y] = this.local(label.at);
      return { text: label.name, x, y, weight: label.weight, place };
    };
    this.points = [...land.labels.map((l) => point(l, false)), ...land.places.map((l) => point(l, true))];
  }

  /**
   * @param {CanvasRenderingContext2D} pen in device pixels
   * @param {Palette} palette
   * @param {number} zoom
   * @param {number} ratio device pixels a CSS pixel
   * @param {(x: number, y: number) => [number, number]} pixel from local units
   * @param {number} scale device pixels a local unit
   */
  draw(pen, palette, zoom, ratio, pixel, scale) {
    /** @type {[number, number, number, number][]} */
    const taken = [];
    const claim = (/** @type {[number, number, number, number]} */ box) => {
      if (taken.some((o) => box[0] < o[2] && box[2] > o[0] && box[1] < o[3] && box[3] > o[1])) return false;
      taken.push(box);
      return true;
    };
    const { width, height } = pen.canvas;
    const outside = (/** @type {number} */ x, /** @type {number} */ y) => x < 0 || y < 0 || x > width || y > height;
    const write = (
      /** @type {string} */ text, /** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ colour,
      /** @type {number} */ halo,
    ) => {
      pen.strokeStyle = palette.halo;
      pen.lineWidth = halo * ratio;
      pen.strokeText(text, x, y);
      pen.fillStyle = colour;
      pen.fillText(text, x, y);
    };
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    pen.lineJoin = 'round';

    for (const name of this.points) {
      const from = name.place ? (name.weight >= 7 ? 14.2 : 15.2) : 0;
      if (zoom < from || (!name.place && zoom > 15.6)) continue;
      const [x, y] = pixel(name.x, name.y);
      if (outside(x, y)) continue;
      const town = !name.place && name.weight >= 9;
      const size = (town ? 19 : name.place ? 11.5 : 12) * ratio;
      pen.font = `${name.place ? 500 : 600} ${size}px ${fonts}`;
      const text = town || name.place ? name.text : name.text.toUpperCase();
      const half = pen.measureText(text).width / 2 + 6 * ratio;
      if (!claim([x - half, y - size * 0.8, x + half, y + size * 0.8])) continue;
      write(text, x, y, name.place ? palette.place : palette.label, 3);
    }
    if (zoom < 13.6) return;
    const size = Math.min(13.5, 10.5 + (zoom - 14)) * ratio;
    pen.font = `400 ${size}px ${fonts}`;
    for (const name of this.streets) {
      const [x, y] = pixel(name.x, name.y);
      if (outside(x, y)) continue;
      const wide = pen.measureText(name.text).width;
      if (wide > name.length * scale + 30 * ratio) continue;
      const halfX = (Math.abs(Math.cos(name.angle)) * wide) / 2 + size * 0.6;
      const halfY = (Math.abs(Math.sin(name.angle)) * wide) / 2 + size * 0.6;
      if (!claim([x - halfX, y - halfY, x + halfX, y + halfY])) continue;
      pen.save();
      pen.translate(x, y);
      pen.rotate(name.angle);
      write(name.text, 0, 0, palette.label, 2.6);
      pen.restore();
    }
  }
}
