// Reads the map files: whole numbers against an origin, points against the point before them.

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {Coordinate[][]} Polygon  Rings: the outer one first, then holes; filled even-odd.
 * @typedef {{name: string, kind: string, weight: number, at: Coordinate}} Label
 * @typedef {{from: number, to: number, class: string, name: string, speed: number, oneway: boolean, length: number,
 *   points: Coordinate[]}} Edge  `speed` in km/h, `length` in metres along the full shape.
 * @typedef {{bbox: [number, number, number, number], nodes: Coordinate[], edges: Edge[]}} Roads
 * @typedef {{areas: Record<string, Polygon[]>, lines: Record<string, Coordinate[][]>, labels: Label[], places: Label[]}} Land
 */

/**
 * A flat list of differences as coordinates.
 * @param {number[]} flat
 * @param {{origin: [number, number], scale: number}} file
 * @param {number} [x] where the first difference counts from, in the file's units
 * @param {number} [y]
 * @returns {Coordinate[]}
 */
function decode(flat, file, x = 0, y = 0) {
  /** @type {Coordinate[]} */
  const points = [];
  for (let i = 0; i < flat.length; i += 2) {
    x += flat[i];
    y += flat[i + 1];
    points.push([file.origin[0] + x / file.scale, file.origin[1] + y / file.scale]);
  }
  return points;
}

const longestPauseMs = 8_000;

/**
 * A file of the map. A gateway that goes away meanwhile is asked again, after 0.5 s to 8 s.
 * @param {string} name
 * @param {number} [tries] then it has failed; what the page can do without is asked for until it comes
 */
async function fetchMap(name, tries = Infinity) {
  for (let pauseMs = 500; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    tries -= 1;
    try {
      const response = await fetch(new URL(`../map/neubrandenburg-${name}.json`, import.meta.url));
      if (response.ok) return await response.json();
      if (response.status < 500) tries = 0;
      throw new Error(`map file ${name}: HTTP ${response.status}`);
    } catch (error) {
      if (tries <= 0) throw error;
    }
    await new Promise((done) => setTimeout(done, pauseMs));
  }
}

/** @param {any} file a parsed `ride-roads/1` file @returns {Roads} */
export function decodeRoads(file) {
  const columns = file.edges;
  const nodes = decode(file.nodes, file);
  const edges = columns.from.map((/** @type {number} */ from, /** @type {number} */ i) => {
    const start = nodes[from];
    const end = nodes[columns.to[i]];
    const x = Math.round((start[0] - file.origin[0]) * file.scale);
    const y = Math.round((start[1] - file.origin[1]) * file.scale);
    return {
      from,
      to: columns.to[i],
      class: file.classes[columns.class[i]],
      name: file.names[columns.name[i]],
      speed: columns.speed[i],
      oneway: columns.oneway[i] === 1,
      length: columns.length[i],
      points: [start, ...decode(columns.shape[i], file, x, y), end],
    };
  });
  return { bbox: file.bbox, nodes, edges };
}

/** The roads, and the parsed file for the worker that computes routes. */
export async function loadRoads() {
  const file = await fetchMap('roads', 5);
  return { file, roads: decodeRoads(file) };
}

/** @returns {Promise<Land>} */
export async function loadLand() {
  const file = await fetchMap('land');
  /** @type {Record<string, Polygon[]>} */
  const areas = {};
  for (const layer in file.areas) {
    areas[layer] = file.areas[layer].map((/** @type {number[][]} */ rings) => rings.map((ring) => decode(ring, file)));
  }
  /** @type {Record<string, Coordinate[][]>} */
  const lines = {};
  for (const layer in file.lines) lines[layer] = file.lines[layer].map((/** @type {number[]} */ l) => decode(l, file));
  const label = (/** @type {[string, string, number, number, number]} */ [name, kind, weight, x, y]) => ({
    name,
    kind,
    weight,
    at: /** @type {Coordinate} */ ([file.origin[0] + x / file.scale, file.origin[1] + y / file.scale]),
  });
  return { areas, lines, labels: file.labels.map(label), places: file.places.map(label) };
}

/** The building footprints: the biggest file, needed late. @returns {Promise<Polygon[]>} */
export async function loadBuildings() {
  const file = await fetchMap('buildings');
  return file.buildings.map((/** @type {number[][]} */ rings) => rings.map((ring) => decode(ring, file)));
}
