// The page's road graph against a plain reference: nearest road by looking at all of them, quickest way by relaxing all edges.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const page = new URL('../../../public/', import.meta.url);
const { decodeRoads } = await import(new URL('js/data.js', page));
const { RoadGraph } = await import(new URL('js/graph.js', page));
const { metresBetween } = await import(new URL('js/geo.js', page));
const graph = new RoadGraph(decodeRoads(JSON.parse(readFileSync(new URL('map/neubrandenburg-roads.json', page)))));

let seed = 1;
const random = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
const [west, south, east, north] = graph.roads.bbox;
const somewhere = () => [west + random() * (east - west), south + random() * (north - south)];

test('snapping finds the nearest road', () => {
  for (let i = 0; i < 200; i++) {
    const at = somewhere();
    let best = { off: Infinity };
    graph.roads.edges.forEach((edge, e) => {
      for (let k = 1; k < edge.points.length; k++) best = graph.nearer(at, e, k, best);
    });
    assert.ok(Math.abs(best.off - graph.snap(at).offMetres) < 1e-6);
  }
});

test('times to a place agree with relaxing every edge until nothing changes', () => {
  for (let i = 0; i < 3; i++) {
    const target = graph.snap(somewhere());
    const seconds = new Float64Array(graph.roads.nodes.length).fill(Infinity);
    const end = graph.roads.edges[target.edge];
    seconds[end.from] = graph.seconds[target.edge] * target.share;
    if (!end.oneway) seconds[end.to] = graph.seconds[target.edge] * (1 - target.share);
    for (let changed = true; changed; ) {
      changed = false;
      graph.roads.edges.forEach((edge, e) => {
        const relax = (from, to) => {
          if (seconds[to] + graph.seconds[e] >= seconds[from] - 1e-9) return;
          seconds[from] = seconds[to] + graph.seconds[e];
          changed = true;
        };
        relax(edge.from, edge.to);
        if (!edge.oneway) relax(edge.to, edge.from);
      });
    }
    const field = graph.fieldTo(target);
    seconds.forEach((s, node) => assert.ok(Math.abs(s - field.seconds[node]) < 1e-6));
  }
});

test('a route starts and ends where it should and is as long as it says', () => {
  for (let i = 0; i < 300; i++) {
    const [from, to] = [graph.snap(somewhere()), graph.snap(somewhere())];
    const { points, metres, seconds } = graph.route(from, to);
    let drawn = 0;
    for (let k = 1; k < points.length; k++) drawn += metresBetween(points[k - 1], points[k]);
    assert.ok(metresBetween(points[0], from.at) < 0.5 && metresBetween(points.at(-1), to.at) < 0.5);
    assert.ok(Math.abs(drawn - metres) < 2 + metres * 0.02, `${drawn} drawn, ${metres} said`);
    assert.ok(seconds >= metres / (130 / 3.6) - 1e-6 && seconds <= metres + 1e-6);
  }
});
