// How values are written for people: ids, times, sizes, JSON. Everything may come from somebody hostile: what could
// turn the reading direction or hide itself is written out, and no text is longer than can be looked at.

import { element } from './element.js';

// Longer texts are cut, and larger documents are shown in part, until somebody asks for the rest.
const TEXT = 2000;
const PARTS = 2000;
const DEEP = 64;

// Control characters, marks of direction, and characters without width. Line ends and tabs stay.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/** The text, with what cannot be seen written as `\u{..}`. */
export function plain(text) {
  return String(text).replace(HIDDEN, (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`);
}

const ID = /\b[acpsur]_[a-z2-7]{52}\b/g;

/** An id in short, which is copied when it is pressed. */
export function id(text) {
  if (!text) return element('span', { class: 'faint' }, 'none');
  const whole = String(text);
  return element('button', { type: 'button', class: 'id', title: whole, 'data-copy': whole, 'aria-label': `${short(whole)}, copy` }, short(whole));
}

/** The beginning of an id, as the command line writes it. */
export function short(text) {
  const whole = plain(text);
  return whole.length > 14 ? `${whole.slice(0, 10)}…` : whole;
}

/** A sentence, with the ids in it in short. */
export function sentence(text) {
  const words = plain(text);
  const parts = [];
  let from = 0;
  for (const found of words.matchAll(ID)) {
    parts.push(words.slice(from, found.index), id(found[0]));
    from = found.index + found[0].length;
  }
  parts.push(words.slice(from));
  return parts;
}

/** A sentence in which what stands between backticks is a command. */
export function advice(text) {
  return plain(text).split('`').map((part, at) => (at % 2 ? element('code', null, part) : part));
}

/** How long ago, kept up to date by `tick`. */
export function age(ms) {
  if (!ms) return element('span', { class: 'faint' }, 'never');
  const date = new Date(Number(ms));
  const known = !Number.isNaN(date.getTime());
  const whole = known ? date.toISOString() : String(ms);
  return element('time', { datetime: whole, title: whole, 'data-age': known ? ms : null }, known ? ago(ms) : whole);
}

/** The time of day, with the whole of it as a hint. */
export function moment(ms) {
  const date = new Date(Number(ms));
  if (Number.isNaN(date.getTime())) return plain(ms);
  const today = date.toDateString() === new Date().toDateString();
  const clock = date.toLocaleTimeString(undefined, { hour12: false });
  return element('time', { datetime: date.toISOString(), title: date.toISOString() },
    today ? clock : `${date.toISOString().slice(0, 10)} ${clock}`);
}

function ago(ms) {
  const seconds = Math.round((Date.now() - ms) / 1000);
  if (seconds < -1) return 'in the future';
  if (seconds < 5) return 'just now';
  for (const [size, name] of [[86400, 'd'], [3600, 'h'], [60, 'min']]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${name} ago`;
  }
  return `${seconds} s ago`;
}

/** Brings the ages on the page up to date. */
export function tick() {
  for (const time of document.querySelectorAll('time[data-age]')) {
    const text = ago(Number(time.dataset.age));
    if (time.textContent !== text) time.textContent = text;
  }
}

/** A count with thin spaces. */
export function number(count) {
  if (count === null || count === undefined) return element('span', { class: 'faint' }, '–');
  return String(count).replace(/\B(?=(\d{3})+$)/g, '\u2009');
}

/** Bytes in the unit that fits. */
export function bytes(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = Number(count) || 0;
  let at = 0;
  while (value >= 1000 && at < units.length - 1) { value /= 1000; at += 1; }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** A value on one line. */
export function line(value, most = 160) {
  const text = plain(JSON.stringify(value) ?? '');
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** A value over several lines, its parts told apart. */
export function json(value) {
  const pre = element('pre', { class: 'json', tabindex: '0' });
  const budget = { left: PARTS };
  part(value, 0, budget, pre);
  if (budget.left < 0) {
    const rest = element('button', { type: 'button', onclick: () => { pre.textContent = plain(JSON.stringify(value, null, 2)); } }, 'show all of it');
    pre.append('\n', rest);
  }
  return pre;
}

function part(value, depth, budget, into) {
  budget.left -= 1;
  if (budget.left < 0 || depth > DEEP) { into.append('…'); return; }
  if (value === null || typeof value !== 'object') { into.append(leaf(value)); return; }
  const list = Array.isArray(value);
  const keys = list ? [...value.keys()] : depth ? Object.keys(value) : inOrder(Object.keys(value));
  if (keys.length === 0) { into.append(list ? '[]' : '{}'); return; }
  const inner = '  '.repeat(depth + 1);
  into.append(list ? '[\n' : '{\n');
  for (const [at, key] of keys.entries()) {
    if (budget.left < 0) { into.append(`${inner}…\n`); break; }
    into.append(inner);
    if (!list) {
      const system = depth === 0 && key.startsWith('_');
      into.append(element('span', { class: system ? 'system' : 'key' }, plain(JSON.stringify(key))), ': ');
    }
    part(value[key], depth + 1, budget, into);
    into.append(at < keys.length - 1 ? ',\n' : '\n');
  }
  into.append('  '.repeat(depth), list ? ']' : '}');
}

const SYSTEM = ['_id', '_collection', '_created', '_updated', '_author', '_deleted', '_parent'];

// System fields first, as the command line prints them.
function inOrder(keys) {
  return [...SYSTEM.filter((key) => keys.includes(key)), ...keys.filter((key) => !SYSTEM.includes(key))];
}

function leaf(value) {
  if (typeof value !== 'string') return element('span', { class: value === null ? 'null' : typeof value }, String(value));
  const text = plain(JSON.stringify(value));
  const span = element('span', { class: 'string' }, text.slice(0, TEXT));
  if (text.length > TEXT) {
    span.append(element('button', { type: 'button', onclick: () => { span.textContent = text; } }, `… ${number(text.length - TEXT)} more characters`));
  }
  return span;
}
