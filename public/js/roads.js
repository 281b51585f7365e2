// Asks the road-graph worker.

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./types.js').Snap} Snap
 * @typedef {import('./types.js').Route} Route
 * @typedef {import('./types.js').Reach} Reach
 */

export class RoadService {
  /** @param {unknown} file the parsed road file */
  constructor(file) {
    this.worker = new Worker(new URL('./roads-worker.js', import.meta.url), { type: 'module' });
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    this.lastID = 0;
    this.worker.addEventListener('message', (event) => {
      const { id, answer, error } = event.data;
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(error));
    });
    this.ask({ ask: 'load', roads: file });
  }

  /** @param {Record<string, unknown>} message @returns {Promise<any>} */
  ask(message) {
    const id = ++this.lastID;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...message });
    });
  }

  /** The nearest point on a road. @param {Coordinate} at @returns {Promise<Snap>} */
  snap(at) {
    return this.ask({ ask: 'snap', at });
  }

  /** The quickest way by car. @param {Coordinate} from @param {Coordinate} to @returns {Promise<Route>} */
  route(from, to) {
    return this.ask({ ask: 'route', from, to });
  }

  /**
   * Distance and time from each point to one place; null for a point that is on no road of the map.
   * @param {Coordinate[]} from
   * @param {Coordinate} to
   * @returns {Promise<(Reach | null)[]>}
   */
  reach(from, to) {
    return this.ask({ ask: 'reach', from, to });
  }
}
