// REST calls to the gateway. An answer is an answer, a problem too; only silence throws.

/** @typedef {import('./types.js').Problem} Problem */

const answerMs = 10_000;

/** What is done about a 401 before a request is sent once more. @type {() => Promise<boolean>} */
let renew = async () => false;

/** Lets `sign` sign in when the gateway asks who sends a request. @param {() => Promise<boolean>} sign */
export function whenRefused(sign) {
  renew = sign;
}

/** No answer came: the connection failed, it took too long, or what came was not an answer of the gateway. */
export class NoAnswer extends Error {}

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {any} body  Null when it is not JSON.
 * @property {Problem | null} problem  What went wrong, for a status of 400 and up.
 */

/**
 * @param {'GET' | 'POST' | 'DELETE'} method
 * @param {string} path without a leading slash
 * @param {{body?: string, key?: string, renews?: boolean, outlives?: boolean}} [options] `key`: the Idempotency-Key; `renews`: sign in
 *   when that is asked for; `outlives`: the browser takes the answer's cookies though the page is closed meanwhile
 * @returns {Promise<Answer>}
 */
export async function call(method, path, { body, key, renews = true, outlives = false } = {}) {
  const answer = await send(method, path, { body, key, outlives });
  if (answer.status !== 401 || !renews || !(await renew())) return answer;
  return send(method, path, { body, key, outlives });
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: string, key?: string, outlives: boolean}} options
 * @returns {Promise<Answer>}
 */
async function send(method, path, { body, key, outlives }) {
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json, application/problem+json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (key !== undefined) headers['idempotency-key'] = key;
  let response;
  let json = null;
  // Not AbortSignal.timeout: Safari 15 has none.
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), answerMs);
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method, headers, body, cache: 'no-store', signal: patience.signal, keepalive: outlives,
    });
    const type = response.headers.get('content-type') ?? '';
    json = type.includes('json') ? await response.json() : null;
  } catch (error) {
    throw new NoAnswer(String(error));
  } finally {
    clearTimeout(timer);
  }
  if (response.status === 204) return { status: 204, body: null, problem: null };
  if (response.ok && json === null) throw new NoAnswer(`HTTP ${response.status} without JSON`);
  if (response.ok) return { status: response.status, body: json, problem: null };
  const problem = typeof json === 'object' && json !== null ? json : {};
  return {
    status: response.status,
    body: json,
    problem: { ...problem, code: String(problem.code ?? 'unknown'), status: response.status },
  };
}

/** A name that nobody else has, also where `crypto.randomUUID` is missing (plain HTTP). */
export function randomID() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
