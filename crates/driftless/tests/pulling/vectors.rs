//! Vectors 8, 9, 10, 12, 14 and 15 of the document store.
