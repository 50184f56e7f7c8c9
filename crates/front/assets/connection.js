// The connection to the database: one WebSocket that comes back by itself, answers to questions, streams that go on
// after it came back, and signals. Knows nothing of the page.

const FIRST_WAIT = 250;
const LONGEST_WAIT = 8000;

/** A failure as the database tells it: a code that stays the same, a sentence, and the next step. */
export class Failure extends Error {
  constructor({ code, message, hint }) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

const CUT = { code: 'disconnected', message: 'The connection was lost.', hint: 'It comes back by itself while `driftless serve` runs.' };

export class Connection {
  #token;
  #socket = null;
  #next = 1;
  #calls = new Map();
  #streams = new Map();
  #waiting = [];
  #wait = FIRST_WAIT;
  #timer = null;
  #listeners = { state: new Set(), signal: new Set() };
  state = 'connecting';

  constructor(token) {
    this.#token = token;
    this.#dial();
  }

  /** Hears of `state` (connecting, open, away, refused) or `signal`; returns what ends it. */
  on(what, listener) {
    this.#listeners[what].add(listener);
    return () => this.#listeners[what].delete(listener);
  }

  /** One question, one answer. */
  call(op, args = {}) {
    return new Promise((resolve, reject) => {
      if (this.state === 'refused') return reject(new Failure(CUT));
      const call = { id: this.#next++, op, args, resolve, reject };
      if (this.state !== 'open') return this.#waiting.push(call);
      this.#ask(call);
    });
  }

  /**
   * A stream: `heard.event` for each of it; `heard.began` each time it begins anew, also after the connection came back;
   * `heard.failed` when the database ended it. Returns what ends it.
   */
  stream(op, args, heard) {
    const stream = { id: null, op, args, heard };
    this.#streams.set(stream, stream);
    if (this.state === 'open') this.#begin(stream);
    return () => {
      if (!this.#streams.delete(stream) || stream.id === null || this.state !== 'open') return;
      this.#calls.delete(stream.id);
      this.#send({ id: this.#next++, op: 'cancel', args: { id: stream.id } });
    };
  }

  close() {
    clearTimeout(this.#timer);
    this.#streams.clear();
    this.#become('refused');
    this.#socket?.close();
  }

  #dial() {
    const place = new URL('/api/1/ws', location.href);
    place.protocol = place.protocol.replace('http', 'ws');
    place.hash = '';
    const socket = new WebSocket(place, ['driftless.1', `bearer.${this.#token}`]);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#wait = FIRST_WAIT;
      this.#become('open');
      for (const stream of this.#streams.values()) this.#begin(stream);
      for (const call of this.#waiting.splice(0)) this.#ask(call);
    };
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = () => this.#lost(opened);
  }

  async #lost(opened) {
    if (this.state === 'refused') return;
    for (const call of this.#calls.values()) call.reject?.(new Failure(CUT));
    this.#calls.clear();
    for (const stream of this.#streams.values()) stream.id = null;
    this.#become('away');
    // A browser does not tell a page why it got no WebSocket; the same token over HTTP says whether it is that.
    if (!opened && await this.#isRefused()) return this.#become('refused');
    this.#timer = setTimeout(() => this.#dial(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  async #isRefused() {
    try {
      const headers = { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' };
      const answer = await fetch('/api/1/hello', { method: 'POST', headers, body: '{}' });
      return answer.status === 401;
    } catch {
      return false;
    }
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    if (state === 'refused') for (const call of this.#waiting.splice(0)) call.reject(new Failure(CUT));
    for (const listener of this.#listeners.state) listener(state);
  }

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #ask(call) {
    this.#calls.set(call.id, call);
    this.#send({ id: call.id, op: call.op, args: call.args });
  }

  #begin(stream) {
    stream.id = this.#next++;
    this.#calls.set(stream.id, { stream, reject: null });
    stream.heard.began?.();
    this.#send({ id: stream.id, op: stream.op, args: stream.args });
  }

  #hear(frame) {
    if (frame.signal) {
      for (const listener of this.#listeners.signal) listener(frame);
      return;
    }
    const call = this.#calls.get(frame.id);
    if (!call) return;
    if (call.stream) {
      if ('event' in frame) return call.stream.heard.event?.(frame.event);
      if (frame.error) call.stream.heard.failed?.(new Failure(frame.error));
      if (frame.error || frame.end) {
        this.#calls.delete(frame.id);
        this.#streams.delete(call.stream);
      }
      return;
    }
    this.#calls.delete(frame.id);
    if (frame.error) call.reject(new Failure(frame.error));
    else call.resolve(frame.ok);
  }
}
