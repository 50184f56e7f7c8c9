// The id of a document as a word, as the command line writes it, and back; filters as they are typed.

/** The word for an id: a string is itself, unless it reads as JSON. */
export function word(id) {
  if (typeof id !== 'string') return JSON.stringify(id);
  try {
    JSON.parse(id);
    return JSON.stringify(id);
  } catch {
    return id;
  }
}

/** The id that a word stands for, as the database gives it in `_id`. */
export function meant(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Whether two ids are the same. */
export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// A string, which stays, or a name before a colon, which gets its quotes.
const NAMES = /"(?:[^"\\]|\\.)*"|([A-Za-z_$][\w$.]*)(?=\s*:)/g;

/** A filter as somebody types it: JSON, where the quotes around names may be left out. */
export function filter(text) {
  const typed = text.trim();
  if (!typed) return {};
  let read;
  try {
    read = JSON.parse(typed.replace(NAMES, (all, name) => (name ? JSON.stringify(name) : all)));
  } catch (error) {
    throw { code: 'invalid_json', message: 'This is no filter yet.', hint: `For example {done: false} or {"name": {"$regex": "^A"}}. ${error.message}` };
  }
  if (read === null || typeof read !== 'object' || Array.isArray(read)) {
    throw { code: 'invalid_filter', message: 'A filter is an object.', hint: 'For example {done: false}.' };
  }
  return read;
}
