// The worker that answers questions about the road graph, so that a search never holds up a frame.
// Messages in: {id, ask, …}; out: {id, answer} or {id, error}.

import { decodeRoads } from './data.js';
import { RoadGraph } from './graph.js';

/** @type {RoadGraph | null} */
let graph = null;
/** The last place that cars were measured to: its field is kept. @type {{key: string, field: any} | null} */
let kept = null;

/** Beyond this a point is not on a road of the map, metres. */
const offMapMetres = 1500;

/** @param {any} message */
function answer(message) {
  if (message.ask === 'load') {
    graph = new RoadGraph(decodeRoads(message.roads));
    return true;
  }
  if (!graph) throw new Error('the road graph is not loaded');
  switch (message.ask) {
    case 'snap':
      return graph.snap(message.at);
    case 'route':
      return graph.route(graph.snap(message.from), graph.snap(message.to));
    case 'reach': {
      const key = message.to.join();
      if (!kept || kept.key !== key) kept = { key, field: graph.fieldTo(graph.snap(message.to)) };
      const { field } = kept;
      return message.from.map((/** @type {[number, number]} */ at) => {
        const snap = /** @type {RoadGraph} */ (graph).snap(at);
        if (snap.offMetres > offMapMetres) return null;
        const { seconds, metres } = /** @type {RoadGraph} */ (graph).firstStep(snap, field);
        return { seconds, metres, street: snap.street };
      });
    }
    default:
      throw new Error(`unknown question ${message.ask}`);
  }
}

self.addEventListener('message', (/** @type {MessageEvent} */ event) => {
  const { id } = event.data;
  try {
    self.postMessage({ id, answer: answer(event.data) });
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
});
