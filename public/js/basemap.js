// Draws the ground: land, water, buildings, roads, names. It is drawn only when the view leaves what was drawn before, into
// a canvas half again as large as the window; in between that canvas is moved and scaled.

import { mercatorX, mercatorY } from './geo.js';
import { LabelLayer } from './labels.js';

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./view.js').View} View
 * @typedef {import('./theme.js').Palette} Palette
 * @typedef {{path: Path2D, west: number, north: number, east: number, south: number}} Chunk  One grid cell of a layer.
 */

/** Local units in one world width: fine enough for paths, small enough for a canvas's floats. */
const unit = 1e7;
const gridSize = 6;
const oversize = 1.5;
const buildingsFrom = 13.5;
const settleMs = 140;
const areaLayers = /** @type {const} */ ([
  'farm', 'residential', 'industrial', 'green', 'wood', 'sport', 'sand', 'parking', 'water',
]);
const roadClasses = {
  minor: ['residential', 'living_street', 'unclassified'],
  secondary: ['secondary', 'tertiary'],
  primary: ['primary', 'trunk', 'motorway'],
};

/** A line width that grows with the zoom: values at zoom 12, 14, 16 and 19, in CSS pixels. @param {number} zoom @param {number[]} at */
function width(zoom, at) {
  const stops = [12, 14, 16, 19];
  if (zoom <= 12) return at[0];
  for (let i = 1; i < 4; i++) {
    if (zoom > stops[i]) continue;
    const share = (1.6 ** (zoom - stops[i - 1]) - 1) / (1.6 ** (stops[i] - stops[i - 1]) - 1);
    return at[i - 1] + (at[i] - at[i - 1]) * share;
  }
  return at[3];
}

export class BaseMap {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import('./data.js').Roads} roads
   * @param {View} view
   * @param {Palette} palette
   */
  constructor(canvas, roads, view, palette) {
    this.canvas = canvas;
    this.view = view;
    this.palette = palette;
    this.bbox = roads.bbox;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
    this.sheet = document.createElement('canvas');
    this.pen = /** @type {CanvasRenderingContext2D} */ (this.sheet.getContext('2d', { alpha: false }));
    this.originX = mercatorX(roads.bbox[0]);
    this.originY = mercatorY(roads.bbox[3]);
    this.ratio = 1;
    /** What the sheet shows, or null when it must be drawn again. @type {{x: number, y: number, zoom: number} | null} */
    this.drawn = null;
    this.shown = '';
    this.settle = 0;
    /** The zoom that the picture will be sharp at soon. */
    this.settlingAt = 0;
    /** @type {Record<string, Chunk[]>} */
    this.layers = {};
    for (const [name, classes] of Object.entries(roadClasses)) {
      const lines = roads.edges.filter((edge) => classes.includes(edge.class)).map((edge) => edge.points);
      this.layers[`road-${name}`] = this.chunks(lines.map((line) => [line]), false);
    }
    this.labels = new LabelLayer(roads, (at) => this.local(at));
  }

  /** @param {Coordinate} at @returns {[number, number]} */
  local(at) {
    return [(mercatorX(at[0]) - this.originX) * unit, (mercatorY(at[1]) - this.originY) * unit];
  }

  /**
   * One path for each cell of a grid: what is out of sight is not drawn.
   * @param {Coordinate[][][]} shapes each a list of lines or rings
   * @param {boolean} closed
   * @returns {Chunk[]}
   */
  chunks(shapes, closed) {
    const [west, south, east, north] = this.bbox;
    const cell = (/** @type {number} */ share) => Math.max(0, Math.min(gridSize - 1, Math.floor(share * gridSize)));
    /** @type {Map<number, Chunk>} */
    const chunks = new Map();
    for (const lines of shapes) {
      const [lon, lat] = lines[0][0];
      const key = cell((lat - south) / (north - south)) * gridSize + cell((lon - west) / (east - west));
      let chunk = chunks.get(key);
      if (!chunk) {
        chunk = { path: new Path2D(), west: Infinity, north: Infinity, east: -Infinity, south: -Infinity };
        chunks.set(key, chunk);
      }
      for (const line of lines) {
        line.forEach((at, i) => {
          const [x, y] = this.local(at);
          if (i === 0) chunk.path.moveTo(x, y);
          else chunk.path.lineTo(x, y);
          chunk.west = Math.min(chunk.west, x);
          chunk.east = Math.max(chunk.east, x);
          chunk.north = Math.min(chunk.north, y);
          chunk.south = Math.max(chunk.south, y);
        });
        if (closed) chunk.path.closePath();
      }
    }
    return [...chunks.values()];
  }

  /** @param {import('./data.js').Land} land */
  addLand(land) {
    for (const layer in land.areas) this.layers[`area-${layer}`] = this.chunks(land.areas[layer], true);
    for (const layer in land.lines) this.layers[`line-${layer}`] = this.chunks(land.lines[layer].map((l) => [l]), false);
    this.labels.addPlaces(land);
    this.drawn = null;
  }

  /** @param {import('./data.js').Polygon[]} buildings */
  addBuildings(buildings) {
    this.layers.buildings = this.chunks(buildings, true);
    this.drawn = null;
  }

  /** @param {Palette} palette */
  recolour(palette) {
    this.palette = palette;
    this.drawn = null;
  }

  /** @param {number} ratio device pixels a CSS pixel */
  resize(ratio) {
    this.ratio = ratio;
    this.canvas.width = Math.round(this.view.width * ratio);
    this.canvas.height = Math.round(this.view.height * ratio);
    this.sheet.width = Math.round(this.canvas.width * oversize);
    this.sheet.height = Math.round(this.canvas.height * oversize);
    this.drawn = null;
  }

  /** Brings the window's canvas up to date with the view. Cheap when nothing has moved. */
  paint() {
    const { view } = this;
    const key = `${view.x},${view.y},${view.zoom}`;
    if (this.drawn && key === this.shown) return;
    this.shown = key;
    if (this.drawn) {
      const grown = 2 ** (view.zoom - this.drawn.zoom);
      const dx = (this.drawn.x - view.x) * view.scale * this.ratio;
      const dy = (this.drawn.y - view.y) * view.scale * this.ratio;
      const spareX = (this.sheet.width * grown - this.canvas.width) / 2;
      const spareY = (this.sheet.height * grown - this.canvas.height) / 2;
      if (Math.abs(dx) <= spareX && Math.abs(dy) <= spareY && grown < 1.9) {
        this.blit(grown, dx, dy);
        // A scaled picture is blurred: it is drawn sharp once the zoom has settled, also while the view moves on.
        if (grown !== 1 && view.zoom !== this.settlingAt) {
          this.settlingAt = view.zoom;
          clearTimeout(this.settle);
          this.settle = window.setTimeout(() => (this.drawn = null), settleMs);
        }
        return;
      }
    }
    this.render();
    this.blit(1, 0, 0);
  }

  /** @param {number} grown @param {number} dx @param {number} dy */
  blit(grown, dx, dy) {
    const width = this.sheet.width * grown;
    const height = this.sheet.height * grown;
    const left = (this.canvas.width - width) / 2 + dx;
    const top = (this.canvas.height - height) / 2 + dy;
    this.context.drawImage(this.sheet, left, top, width, height);
  }

  render() {
    const { pen, palette, view, ratio, sheet } = this;
    const { zoom } = view;
    const scale = (view.scale / unit) * ratio;
    const centreX = (view.x - this.originX) * unit;
    const centreY = (view.y - this.originY) * unit;
    this.drawn = { x: view.x, y: view.y, zoom };
    this.settlingAt = 0;
    clearTimeout(this.settle);
    const west = centreX - sheet.width / 2 / scale;
    const east = centreX + sheet.width / 2 / scale;
    const north = centreY - sheet.height / 2 / scale;
    const south = centreY + sheet.height / 2 / scale;
    const visible = (/** @type {string} */ layer) =>
      (this.layers[layer] ?? []).filter((c) => c.west < east && c.east > west && c.north < south && c.south > north);
    const fill = (/** @type {string} */ layer, /** @type {string} */ colour) => {
      pen.fillStyle = colour;
      for (const chunk of visible(layer)) pen.fill(chunk.path, 'evenodd');
    };
    const stroke = (
      /** @type {string} */ layer, /** @type {string} */ colour, /** @type {number[]} */ widths,
      /** @type {number[]} */ dash = [],
    ) => {
      const pixels = width(zoom, widths);
      if (pixels < 0.15) return;
      pen.strokeStyle = colour;
      pen.lineWidth = (pixels * ratio) / scale;
      pen.setLineDash(dash.map((d) => (d * pixels * ratio) / scale));
      for (const chunk of visible(layer)) pen.stroke(chunk.path);
    };

    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = palette.land;
    pen.fillRect(0, 0, sheet.width, sheet.height);
    pen.setTransform(scale, 0, 0, scale, sheet.width / 2 - centreX * scale, sheet.height / 2 - centreY * scale);
    pen.lineCap = pen.lineJoin = 'round';

    for (const layer of areaLayers) fill(`area-${layer}`, palette[layer]);
    stroke('line-stream', palette.water, [0.8, 1.6, 3, 8]);
    if (zoom >= buildingsFrom) {
      pen.globalAlpha = Math.min(1, (zoom - buildingsFrom) / 0.8 + 0.15);
      fill('buildings', palette.building);
      if (zoom > 15) stroke('buildings', palette.buildingEdge, [0.7, 0.7, 0.7, 0.7]);
      pen.globalAlpha = 1;
    }
    stroke('line-path', palette.path, [0, 0.5, 1.2, 2.5], [2, 1.6]);
    stroke('line-track', palette.track, [0.3, 0.7, 1.5, 3], [3, 1.5]);
    stroke('line-drive', palette.service, [0, 0.4, 2, 8]);
    stroke('line-service', palette.service, [0.2, 0.9, 3, 10]);
    stroke('line-rail', palette.rail, [0.8, 1.4, 2.4, 4]);
    stroke('line-siding', palette.rail, [0.3, 0.7, 1.4, 2]);
    stroke('line-wall', palette.wall, [1, 2, 4, 9]);
    stroke('road-minor', palette.casing, [1, 3.7, 10, 29]);
    stroke('road-secondary', palette.casing, [2, 4.6, 12, 34]);
    stroke('road-primary', palette.primaryCasing, [3, 6, 15, 40]);
    stroke('road-minor', palette.minor, [0.7, 2.5, 8, 26]);
    stroke('road-secondary', palette.secondary, [1.3, 3.4, 10, 31]);
    stroke('road-primary', palette.primary, [2, 4.6, 12.6, 37]);

    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.setLineDash([]);
    this.labels.draw(pen, palette, zoom, ratio, (x, y) => [
      (x - centreX) * scale + sheet.width / 2,
      (y - centreY) * scale + sheet.height / 2,
    ], scale);
  }
}
