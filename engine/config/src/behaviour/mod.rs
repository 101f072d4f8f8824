//! What a load says and does, seen from outside.

mod hostile;
mod problems;
mod results;
