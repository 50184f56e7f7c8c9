// What sync did and does: past exchanges, and events as they come. A bounded list, the newest first.

import { element, empty, fill, heading, table, trouble } from '/assets/element.js';
import { bytes, id, moment, number, plain, sentence } from '/assets/show.js';

const KEPT = 500;
const PAST = 100;
const SHOWN = 200;

export function log(app, scope) {
  const list = element('div', { class: 'body', 'aria-live': 'off' });
  const hold = element('button', { type: 'button', 'aria-pressed': 'false', onclick: pause }, 'Hold');
  const which = element('select', { 'aria-label': 'Which', onchange: show },
    element('option', { value: 'all' }, 'all'), element('option', { value: 'exchange' }, 'exchanges'), element('option', { value: 'failed' }, 'what failed'));
  const page = element('div', { class: 'synclog' }, element('h1', { class: 'unseen' }, 'Sync log'),
    element('section', null, heading('Sync log', which, hold), list));
  let events = [];
  let missed = 0;
  let held = false;
  let names = new Map();
  let drawn = false;
  let failure = null;

  // Each beginning, also after the connection came back, brings the past anew; events that it has already are not doubled.
  async function begin() {
    try {
      const [spaces, past] = await Promise.all([app.call('spaces'), app.call('exchanges', { limit: PAST })]);
      names = new Map(spaces.map((space) => [space.space, space.name]));
      const live = events.filter((event) => !event.past);
      const since = live.length ? Math.min(...live.map((event) => event.time)) : Infinity;
      const before = past.filter((event) => event.time < since).map((event) => ({ ...event, kind: 'exchange', past: true }));
      events = [...live, ...before].slice(0, KEPT);
      failure = null;
    } catch (error) {
      failure = error;
    }
    show();
  }

  function heard(event) {
    if (event.kind === 'missed') missed += event.count;
    events.unshift(event);
    events.length = Math.min(events.length, KEPT);
    if (!held) soon();
  }

  // Many events between two frames are drawn once.
  function soon() {
    if (drawn) return;
    drawn = true;
    requestAnimationFrame(() => { drawn = false; show(); });
  }

  function pause() {
    held = !held;
    hold.setAttribute('aria-pressed', String(held));
    hold.textContent = held ? 'Go on' : 'Hold';
    if (!held) show();
  }

  function show() {
    if (failure && failure.code !== 'disconnected') return fill(list, trouble(failure));
    const wanted = (event) => which.value === 'all' || (which.value === 'failed' ? event.error : event.kind === 'exchange');
    const found = events.filter(wanted);
    if (!found.length) {
      return fill(list, empty('Nothing went over yet. What peers exchange appears here as it happens.', 'driftless sync', 'driftless peer add ADDRESS'));
    }
    const columns = [{ name: 'Time' }, { name: 'What', wide: true }, { name: 'Space' }, { name: 'Peer' }, { name: 'Bytes', number: true }];
    fill(list, table('Sync log', columns, found.slice(0, SHOWN).map((event) => [
      moment(event.time), what(event), event.space ? plain(names.get(event.space) ?? event.space) : number(null),
      event.peer ? id(event.peer) : number(null), event.bytes === undefined ? number(null) : bytes(event.bytes)])),
    missed ? element('p', { class: 'faint' }, `${missed} events came too fast and are not here.`) : null);
  }

  scope.stream('events', {}, { began: begin, event: heard, failed(error) { failure = error; show(); } });
  return { page, update() {} };
}

const WORDS = { connected: 'connected', disconnected: 'went away', dial_failed: 'could not be reached', missed: 'too many to follow' };

function what(event) {
  const parts = [event.kind === 'exchange' ? moved(event) : WORDS[event.kind] ?? plain(event.kind)];
  if (event.kind === 'connected') parts.push(element('span', { class: 'faint' }, event.dialed ? ', dialed from here' : ', it dialed'));
  if (event.error) parts.push(element('div', { class: 'bad' }, sentence(event.error)));
  return parts;
}

function moved(event) {
  if (event.commits !== undefined) return event.commits ? `${number(event.commits)} commits went over` : 'nothing went over';
  const counts = ['held', 'void', 'wanted', 'refused', 'declined'].filter((name) => event[name]);
  const main = `${number(event.sent)} sent, ${number(event.received)} received`;
  return [main, counts.map((name) => element('span', { class: 'tag', 'data-state': name }, `${number(event[name])} ${name}`))];
}
