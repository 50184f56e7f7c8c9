//! Permissions as people use them: members who never stop, stale admins, copies, and what everybody sees of it.

mod never_stopped;
mod planned;
mod stale_admin;
mod table;
mod world;
