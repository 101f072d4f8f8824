//! Templates, compiled and run under each escape: what a record brings in never breaks out.

use karez_api::{Escape, Expressions as _, Json, Path};
use karez_steps::Languages;

use crate::expressions::{assert_inside, assert_steady, record};
use crate::lent::in_scope;

/// How the text is used, by the first byte; and how much of it came from elsewhere.
const USES: [(Escape, bool, &[char]); 6] = [
    (Escape::None, false, &[]),
    (Escape::UrlPath, false, &['/', '?', '#', ' ', '\\', '\r', '\n', '\0']),
    (Escape::UrlQuery, false, &['&', '=', '#', '+', ' ', '\r', '\n', '\0']),
    (Escape::Header, false, &['\r', '\n', '\0']),
    (Escape::FilePath, false, &['/', '\\', '\0']),
    (Escape::None, true, &[]),
];

/// The first byte chooses the use; then the template, then the record's body.
pub fn template(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let (escape, half_literal, forbidden) = USES[usize::from(*choice) % USES.len()];
    let mut parts = crate::parts(data);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let record = record(parts.next());
    let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    in_scope(half_literal.then_some(0..half), |scope| {
        match Languages.text(scope, &Path::root(), &text, escape) {
            Ok(compiled) => {
                let Some(made) = assert_steady(|| compiled.eval(&record)) else { return };
                // What the file itself says is its author's affair.
                if !text.contains(forbidden) {
                    assert!(!made.contains(forbidden), "{text:?} under {escape:?} gave {made:?}");
                }
                if half_literal {
                    assert!(
                        made.starts_with(&text[..half]),
                        "{made:?} does not begin with what was brought in"
                    );
                }
            }
            Err(problems) => assert_inside(&problems, &Json::String(text.clone())),
        }
    });
}
