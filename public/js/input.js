// Mouse, touch, wheel and keys on the map. Says what the person did; moves the view itself.

const wheelLinePixels = 16;
const keyPixels = 90;

/**
 * @typedef {object} Actions
 * @property {(px: number, py: number) => void} tap
 * @property {(px: number, py: number) => void} hover
 * @property {() => void} leave
 * @property {() => void} moved  The person moved the map.
 * @property {() => void} settled  The person let go of it.
 * @property {(step: 1 | -1) => void} browse  To the next or the previous of the nearest cars.
 * @property {() => void} open
 * @property {() => void} escape
 */

export class MapInput {
  /**
   * @param {HTMLElement} element
   * @param {import('./view.js').View} view
   * @param {Actions} actions
   */
  constructor(element, view, actions) {
    this.element = element;
    this.view = view;
    this.actions = actions;
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    /** Where the first finger went down; null once it is a drag. @type {{x: number, y: number} | null} */
    this.press = null;
    this.settle = 0;
    element.addEventListener('pointerdown', (event) => this.down(event));
    element.addEventListener('pointermove', (event) => this.move(event));
    element.addEventListener('pointerup', (event) => this.up(event, true));
    element.addEventListener('pointercancel', (event) => this.up(event, false));
    element.addEventListener('pointerleave', () => actions.leave());
    element.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    element.addEventListener('keydown', (event) => this.key(event));
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.pointerType === 'mouse' && event.button !== 0) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.press = this.pointers.size === 1 ? { x: event.clientX, y: event.clientY } : null;
    this.element.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === 'mouse') this.actions.hover(event.clientX, event.clientY);
      return;
    }
    const { clientX: x, clientY: y } = event;
    if (this.press) {
      const slack = event.pointerType === 'mouse' ? 5 : 12;
      if (Math.hypot(x - this.press.x, y - this.press.y) < slack) return;
      this.press = null;
      this.element.classList.add('dragging');
    }
    if (this.pointers.size === 1) {
      this.view.pan(x - before.x, y - before.y);
    } else {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const was = Math.hypot(before.x - other.x, before.y - other.y);
        const is = Math.hypot(x - other.x, y - other.y);
        this.view.pan((x - before.x) / 2, (y - before.y) / 2);
        if (was > 0 && is > 0) this.view.zoomAt((x + other.x) / 2, (y + other.y) / 2, Math.log2(is / was));
      }
    }
    this.pointers.set(event.pointerId, { x, y });
    this.actions.moved();
  }

  /** @param {PointerEvent} event @param {boolean} finished */
  up(event, finished) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.pointers.size > 0) return;
    this.element.classList.remove('dragging');
    if (this.press && finished) this.actions.tap(event.clientX, event.clientY);
    else this.actions.settled();
    this.press = null;
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? wheelLinePixels : 1;
    const by = (-event.deltaY * lines) / (event.ctrlKey ? 90 : 320);
    this.view.zoomAt(event.clientX, event.clientY, Math.max(-1, Math.min(1, by)));
    this.userMoved();
  }

  /** A move without a moment of letting go: settled when nothing followed for a while. */
  userMoved() {
    this.actions.moved();
    clearTimeout(this.settle);
    this.settle = window.setTimeout(() => this.actions.settled(), 250);
  }

  /** @param {number} by */
  zoom(by) {
    const { view } = this;
    const [px, py] = view.middle;
    const zoomed = view.easing ? view.easing.to[2] + by : view.zoom + by;
    const [x, y] = [view.x, view.y];
    view.zoomAt(px, py, zoomed - view.zoom);
    const to = /** @type {[number, number, number]} */ ([view.x, view.y, view.zoom]);
    [view.x, view.y] = [x, y];
    view.zoom = zoomed - by;
    view.ease(to, 220);
    clearTimeout(this.settle);
    this.settle = window.setTimeout(() => this.actions.settled(), 250);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    /** @type {Record<string, [number, number]>} */
    const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const arrow = arrows[event.key];
    if (arrow) {
      this.view.pan(arrow[0] * keyPixels, arrow[1] * keyPixels);
      this.userMoved();
    } else if (event.key === '+' || event.key === '=') {
      this.zoom(1);
    } else if (event.key === '-' || event.key === '_') {
      this.zoom(-1);
    } else if (event.key === 'n' || event.key === 'N') {
      this.actions.browse(1);
    } else if (event.key === 'p' || event.key === 'P') {
      this.actions.browse(-1);
    } else if (event.key === 'Enter') {
      this.actions.open();
    } else if (event.key === 'Escape') {
      this.actions.escape();
    } else {
      return;
    }
    event.preventDefault();
  }
}
