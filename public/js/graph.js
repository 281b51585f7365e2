// The road graph: the nearest road to a point, and the quickest way by car. No I/O; runs in the worker and under tests.

/**
 * @typedef {import('./types.js').Coordinate} Coordinate
 * @typedef {import('./types.js').Snap} Snap
 * @typedef {import('./types.js').Route} Route
 * @typedef {{metres: number, seconds: number}} Cost
 * @typedef {{seconds: Float64Array, metres: Float64Array, target: Snap}} Field  The way from every node to one point.
 */

const cellMetres = 200;

/** A queue of nodes, the cheapest first. */
class Heap {
  /** @type {number[]} */ nodes = [];
  /** @type {number[]} */ costs = [];

  /** @param {number} node @param {number} cost */
  push(node, cost) {
    const { nodes, costs } = this;
    let i = nodes.length;
    nodes.push(node);
    costs.push(cost);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (costs[parent] <= cost) break;
      nodes[i] = nodes[parent];
      costs[i] = costs[parent];
      i = parent;
    }
    nodes[i] = node;
    costs[i] = cost;
  }

  /** The cheapest node and its cost, or null. */
  pop() {
    const { nodes, costs } = this;
    if (nodes.length === 0) return null;
    const top = { node: nodes[0], cost: costs[0] };
    const node = /** @type {number} */ (nodes.pop());
    const cost = /** @type {number} */ (costs.pop());
    const n = nodes.length;
    if (n > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && costs[child + 1] < costs[child]) child++;
        if (costs[child] >= cost) break;
        nodes[i] = nodes[child];
        costs[i] = costs[child];
        i = child;
      }
      nodes[i] = node;
      costs[i] = cost;
    }
    return top;
  }
}

export class RoadGraph {
  /** @param {import('./data.js').Roads} roads */
  constructor(roads) {
    this.roads = roads;
    this.west = roads.bbox[0];
    this.south = roads.bbox[1];
    this.ky = 111_195;
    this.kx = this.ky * Math.cos((((roads.bbox[1] + roads.bbox[3]) / 2) * Math.PI) / 180);
    /** Seconds along each edge. */
    this.seconds = Float64Array.from(roads.edges, (edge) => edge.length / (edge.speed / 3.6));
    /** For each node, the edges by which it can be left; edge e backwards is written ~e. @type {number[][]} */
    this.leaving = roads.nodes.map(() => []);
    /** For each node, the edges by which it can be reached, written the same way. @type {number[][]} */
    this.reaching = roads.nodes.map(() => []);
    /** Length before each point of each edge's drawn shape, and in all. @type {Float64Array[]} */
    this.before = [];
    roads.edges.forEach((edge, e) => {
      this.leaving[edge.from].push(e);
      this.reaching[edge.to].push(e);
      if (!edge.oneway) {
        this.leaving[edge.to].push(~e);
        this.reaching[edge.from].push(~e);
      }
      const before = new Float64Array(edge.points.length);
      for (let k = 1; k < edge.points.length; k++) {
        before[k] = before[k - 1] + this.flat(edge.points[k - 1], edge.points[k]);
      }
      this.before.push(before);
    });
    this.buildGrid();
  }

  /** @param {Coordinate} a @param {Coordinate} b */
  flat(a, b) {
    return Math.hypot((b[0] - a[0]) * this.kx, (b[1] - a[1]) * this.ky);
  }

  buildGrid() {
    const { bbox, edges } = this.roads;
    this.columns = Math.ceil(((bbox[2] - bbox[0]) * this.kx) / cellMetres) + 1;
    this.rows = Math.ceil(((bbox[3] - bbox[1]) * this.ky) / cellMetres) + 1;
    /** Pieces of edges (edge, index of the piece's end point) by cell. @type {number[][]} */
    this.cells = Array.from({ length: this.columns * this.rows }, () => []);
    const { cells, columns } = this;
    edges.forEach((edge, e) => {
      for (let k = 1; k < edge.points.length; k++) {
        const a = this.cellOf(edge.points[k - 1]);
        const b = this.cellOf(edge.points[k]);
        for (let row = Math.min(a.row, b.row); row <= Math.max(a.row, b.row); row++) {
          for (let column = Math.min(a.column, b.column); column <= Math.max(a.column, b.column); column++) {
            cells[row * columns + column].push(e, k);
          }
        }
      }
    });
  }

  /** The cell of a point, the outermost ones taking what lies beyond. @param {Coordinate} at */
  cellOf(at) {
    const column = Math.floor(((at[0] - this.west) * this.kx) / cellMetres);
    const row = Math.floor(((at[1] - this.south) * this.ky) / cellMetres);
    return {
      column: Math.max(0, Math.min(/** @type {number} */ (this.columns) - 1, column)),
      row: Math.max(0, Math.min(/** @type {number} */ (this.rows) - 1, row)),
    };
  }

  /**
   * The nearest point on a road. Looks in rings of cells until no farther ring can hold a nearer one.
   * @param {Coordinate} at
   * @returns {Snap}
   */
  snap(at) {
    const columns = /** @type {number} */ (this.columns);
    const rows = /** @type {number} */ (this.rows);
    const cells = /** @type {number[][]} */ (this.cells);
    const { column, row } = this.cellOf(at);
    let best = { edge: 0, point: 1, t: 0, off: Infinity };
    for (let ring = 0; ring < Math.max(columns, rows); ring++) {
      if (best.off <= (ring - 1) * cellMetres) break;
      for (let r = row - ring; r <= row + ring; r++) {
        if (r < 0 || r >= rows) continue;
        const step = r === row - ring || r === row + ring ? 1 : 2 * ring || 1;
        for (let c = column - ring; c <= column + ring; c += step) {
          if (c < 0 || c >= columns) continue;
          const cell = cells[r * columns + c];
          for (let i = 0; i < cell.length; i += 2) best = this.nearer(at, cell[i], cell[i + 1], best);
        }
      }
    }
    const edge = this.roads.edges[best.edge];
    const a = edge.points[best.point - 1];
    const b = edge.points[best.point];
    const before = this.before[best.edge];
    const drawn = before[before.length - 1] || 1;
    const along = before[best.point - 1] + (before[best.point] - before[best.point - 1]) * best.t;
    return {
      edge: best.edge,
      share: along / drawn,
      at: [a[0] + (b[0] - a[0]) * best.t, a[1] + (b[1] - a[1]) * best.t],
      offMetres: best.off,
      street: edge.name,
    };
  }

  /**
   * @param {Coordinate} at
   * @param {number} edge
   * @param {number} point
   * @param {{edge: number, point: number, t: number, off: number}} best
   */
  nearer(at, edge, point, best) {
    const points = this.roads.edges[edge].points;
    const ax = (points[point - 1][0] - at[0]) * this.kx;
    const ay = (points[point - 1][1] - at[1]) * this.ky;
    const dx = (points[point][0] - points[point - 1][0]) * this.kx;
    const dy = (points[point][1] - points[point - 1][1]) * this.ky;
    const length = dx * dx + dy * dy;
    const t = length === 0 ? 0 : Math.max(0, Math.min(1, -(ax * dx + ay * dy) / length));
    const off = Math.hypot(ax + dx * t, ay + dy * t);
    return off < best.off ? { edge, point, t, off } : best;
  }

  /**
   * How far every node is from one point, by the quickest way (Dijkstra, backwards from the point).
   * @param {Snap} target
   * @returns {Field & {next: Int32Array}} `next`: the edge to take from each node, written as in `leaving`
   */
  fieldTo(target) {
    const n = this.roads.nodes.length;
    const seconds = new Float64Array(n).fill(Infinity);
    const metres = new Float64Array(n).fill(Infinity);
    const next = new Int32Array(n);
    const heap = new Heap();
    const edge = this.roads.edges[target.edge];
    const reach = (/** @type {number} */ node, /** @type {number} */ s, /** @type {number} */ m, /** @type {number} */ by) => {
      if (s >= seconds[node]) return;
      seconds[node] = s;
      metres[node] = m;
      next[node] = by;
      heap.push(node, s);
    };
    reach(edge.from, this.seconds[target.edge] * target.share, edge.length * target.share, target.edge);
    if (!edge.oneway) {
      const rest = 1 - target.share;
      reach(edge.to, this.seconds[target.edge] * rest, edge.length * rest, ~target.edge);
    }
    for (let top = heap.pop(); top; top = heap.pop()) {
      if (top.cost > seconds[top.node]) continue;
      for (const e of this.reaching[top.node]) {
        const index = e < 0 ? ~e : e;
        const road = this.roads.edges[index];
        const start = e < 0 ? road.to : road.from;
        reach(start, top.cost + this.seconds[index], metres[top.node] + road.length, e);
      }
    }
    return { seconds, metres, next, target };
  }

  /**
   * The quickest first step from a point on the graph: along the edge to the target, or to one of its ends.
   * @param {Snap} from
   * @param {Field} field
   * @returns {Cost & {via: 'direct' | 'from' | 'to'}}
   */
  firstStep(from, field) {
    const edge = this.roads.edges[from.edge];
    const seconds = this.seconds[from.edge];
    const ahead = 1 - from.share;
    /** @type {Cost & {via: 'direct' | 'from' | 'to'}} */
    let best = {
      seconds: seconds * ahead + field.seconds[edge.to],
      metres: edge.length * ahead + field.metres[edge.to],
      via: 'to',
    };
    if (!edge.oneway) {
      const back = seconds * from.share + field.seconds[edge.from];
      if (back < best.seconds) {
        best = { seconds: back, metres: edge.length * from.share + field.metres[edge.from], via: 'from' };
      }
    }
    if (from.edge === field.target.edge) {
      const share = field.target.share - from.share;
      if ((share >= 0 || !edge.oneway) && seconds * Math.abs(share) <= best.seconds) {
        best = { seconds: seconds * Math.abs(share), metres: edge.length * Math.abs(share), via: 'direct' };
      }
    }
    return best;
  }

  /**
   * The quickest way between two points on the graph.
   * @param {Snap} from
   * @param {Snap} to
   * @returns {Route}
   */
  route(from, to) {
    const field = this.fieldTo(to);
    const first = this.firstStep(from, field);
    /** @type {Coordinate[]} */
    const points = [];
    const add = (/** @type {Coordinate[]} */ piece) => {
      for (const point of piece) {
        const last = points[points.length - 1];
        if (!last || last[0] !== point[0] || last[1] !== point[1]) points.push(point);
      }
    };
    if (first.via === 'direct') {
      add(this.piece(from.edge, from.share, to.share));
    } else {
      add(this.piece(from.edge, from.share, first.via === 'to' ? 1 : 0));
      let node = first.via === 'to' ? this.roads.edges[from.edge].to : this.roads.edges[from.edge].from;
      for (let guard = this.roads.nodes.length; guard > 0; guard--) {
        const e = field.next[node];
        const index = e < 0 ? ~e : e;
        const road = this.roads.edges[index];
        const whole = field.seconds[node] - this.seconds[index];
        const end = e < 0 ? road.from : road.to;
        // The last piece ends on the target's edge; an earlier edge leads to a node that is nearer by its whole time.
        if (index === to.edge && Math.abs(whole - field.seconds[end]) > 1e-6) {
          add(this.piece(index, e < 0 ? 1 : 0, to.share));
          break;
        }
        add(e < 0 ? [...road.points].reverse() : road.points);
        node = end;
      }
    }
    return { points, metres: first.metres, seconds: first.seconds };
  }

  /**
   * The drawn shape of a part of an edge, forwards or backwards.
   * @param {number} edge
   * @param {number} a share of its length
   * @param {number} b
   * @returns {Coordinate[]}
   */
  piece(edge, a, b) {
    if (a > b) return this.piece(edge, b, a).reverse();
    const { points } = this.roads.edges[edge];
    const before = this.before[edge];
    const drawn = before[before.length - 1];
    /** @type {Coordinate[]} */
    const piece = [this.pointAt(edge, a)];
    for (let k = 1; k < points.length - 1; k++) {
      if (before[k] > a * drawn && before[k] < b * drawn) piece.push(points[k]);
    }
    piece.push(this.pointAt(edge, b));
    return piece;
  }

  /** @param {number} edge @param {number} share @returns {Coordinate} */
  pointAt(edge, share) {
    const { points } = this.roads.edges[edge];
    const before = this.before[edge];
    const along = share * before[before.length - 1];
    let k = 1;
    while (k < points.length - 1 && before[k] < along) k++;
    const t = (along - before[k - 1]) / (before[k] - before[k - 1] || 1);
    const [a, b] = [points[k - 1], points[k]];
    return [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];
  }
}
