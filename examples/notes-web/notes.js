// Notes that several people edit at once, each through the database beside them.

import { connect } from '/assets/driftless.js';

const FIELDS = { title: 'input', text: 'textarea' };
const main = document.getElementById('notes');
const state = document.getElementById('state');
const shown = new Map();

// The token is in the address of this page.
const db = connect();
const notes = db.collection('notes', 'notes');

// A live query: what is there now, then every difference, whoever made it.
notes.watch({}, (event) => {
  if (event.kind === 'ready') state.textContent = 'live';
  else if (event.kind === 'delete') hide(event.id);
  else show(event.document);
}, trouble);

db.on('disconnected', () => { state.textContent = 'reconnecting'; });
db.on('closed', trouble);
db.on('connected', () => {
  state.textContent = 'live';
  // What could not be written while there was no connection.
  for (const note of shown.values()) for (const field of note.unsaved) write(note, field);
});

document.getElementById('new').addEventListener('click', async () => {
  try {
    const { id } = await notes.insert({ title: '', text: '' });
    show(await notes.get(id));
    shown.get(id)?.boxes.title.focus();
  } catch (error) {
    trouble(error);
  }
});

function show(document) {
  const note = shown.get(document._id) ?? make(document);
  for (const [field, box] of Object.entries(note.boxes)) {
    const value = String(document[field] ?? '');
    // What is being typed here is newer than what comes.
    if (note.writing.has(field) || note.unsaved.has(field) || box.value === value) continue;
    const { selectionStart: from, selectionEnd: to } = box;
    box.value = value;
    if (box === box.ownerDocument.activeElement) box.setSelectionRange(from, to);
  }
}

function make({ _id: id, _created: created }) {
  const note = { id, created, boxes: {}, writing: new Set(), unsaved: new Set(), page: document.createElement('article') };
  for (const [field, element] of Object.entries(FIELDS)) {
    const box = document.createElement(element);
    box.setAttribute('aria-label', field);
    box.placeholder = field;
    box.addEventListener('input', () => write(note, field));
    note.boxes[field] = box;
    note.page.append(box);
  }
  const bin = document.createElement('button');
  bin.textContent = 'Delete';
  bin.addEventListener('click', () => notes.delete(id).catch(trouble));
  note.page.append(bin);
  // The oldest first.
  const next = [...shown.values()].filter((other) => other.created > created).sort((a, b) => a.created - b.created)[0];
  main.insertBefore(note.page, next?.page ?? null);
  shown.set(id, note);
  return note;
}

function hide(id) {
  shown.get(id)?.page.remove();
  shown.delete(id);
}

// Writes a field as it is now, one edit after the other, so that what was typed last also arrives last.
async function write(note, field) {
  if (note.writing.has(field)) return;
  note.writing.add(field);
  note.unsaved.delete(field);
  try {
    for (let written; written !== note.boxes[field].value;) {
      written = note.boxes[field].value;
      await notes.edit(note.id, { $set: { [field]: written } });
    }
    note.writing.delete(field);
    // Somebody else may have written it meanwhile: what the database has is what holds.
    show(await notes.get(note.id));
  } catch (error) {
    note.writing.delete(field);
    if (error.code === 'connection_lost') note.unsaved.add(field);
    else if (error.code !== 'not_found') trouble(error);
  }
}

function trouble(error) {
  state.textContent = [error.message, error.hint].filter(Boolean).join(': ');
}
