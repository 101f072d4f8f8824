//! Bugs that a test build can switch on, to show that its judge would catch them. In any other build all of
//! them are off, at compile time.

/// The saved position passes records that are not settled.
pub(crate) fn highest_position() -> bool {
    fail::fail_point!("planted::highest_position", |_| true);
    false
}

/// A position is saved as soon as its records are read.
pub(crate) fn checkpoint_ahead() -> bool {
    fail::fail_point!("planted::checkpoint_ahead", |_| true);
    false
}

/// A reload forgets what is on its way.
pub(crate) fn drop_on_reload() -> bool {
    fail::fail_point!("planted::drop_on_reload", |_| true);
    false
}

/// A full queue takes no more, and nobody waits for it.
pub(crate) fn drop_when_full() -> bool {
    fail::fail_point!("planted::drop_when_full", |_| true);
    false
}

/// A dead letter is written and not counted.
pub(crate) fn letter_not_counted() -> bool {
    fail::fail_point!("planted::letter_not_counted", |_| true);
    false
}

/// What waits for a retry no longer holds back its key.
pub(crate) fn retry_breaks_order() -> bool {
    fail::fail_point!("planted::retry_breaks_order", |_| true);
    false
}
