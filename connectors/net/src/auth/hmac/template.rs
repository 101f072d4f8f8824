//! Text with words in braces; `{{` and `}}` stand for braces.

/// What a text may name, as it is written in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Method,
    Path,
    Query,
    Url,
    Host,
    Body,
    BodySha256,
    Timestamp,
    TimestampMs,
    Date,
    Nonce,
    Signature,
}

const WORDS: &[(&str, Word)] = &[
    ("method", Word::Method),
    ("path", Word::Path),
    ("query", Word::Query),
    ("url", Word::Url),
    ("host", Word::Host),
    ("body", Word::Body),
    ("body_sha256", Word::BodySha256),
    ("timestamp", Word::Timestamp),
    ("timestamp_ms", Word::TimestampMs),
    ("date", Word::Date),
    ("nonce", Word::Nonce),
    ("signature", Word::Signature),
];

#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Word(Word),
}

impl Template {
    /// # Errors
    /// A fragment: a word that is not known, or a brace that is alone.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if brace.starts_with("{{") || brace.starts_with("}}") {
                plain.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let name = brace.strip_prefix('{').and_then(|brace| brace.split_once('}'));
            let (name, after) = name.ok_or("a brace is alone; write it twice if it is meant")?;
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Word(word(name)?));
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    pub(super) fn has(&self, word: Word) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Word(one) if *one == word))
    }

    pub(super) fn fill(&self, value: impl Fn(Word, &mut Vec<u8>)) -> Vec<u8> {
        let mut filled = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Part::Word(word) => value(*word, &mut filled),
            }
        }
        filled
    }
}

fn word(name: &str) -> Result<Word, String> {
    let known = WORDS.iter().find(|(one, _)| *one == name).map(|(_, word)| *word);
    known.ok_or_else(|| {
        let names: Vec<String> = WORDS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
        format!("{{{name}}} is not known here; {} are", names.join(", "))
    })
}
