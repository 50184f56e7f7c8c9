//! A local-first document database.
