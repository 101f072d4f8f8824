//! A request as a command line for a shell.

use karez_connectors::webhooks::Call;

/// Longest body that is an argument, in bytes: Linux takes none of 128 KiB.
const LONGEST_ARGUMENT: usize = 100_000;

/// Sends the request to `to`, with a status of failure where it is refused.
pub(super) fn command(call: &Call, to: &str) -> String {
    let mut lines = vec![format!("curl -sS -i --fail-with-body -X {} {}", call.method, quoted(to))];
    lines.extend(
        call.headers.iter().map(|(name, value)| format!("-H {}", quoted(&format!("{name}: {value}")))),
    );
    match std::str::from_utf8(&call.body) {
        Ok(text) if text.len() <= LONGEST_ARGUMENT && !text.contains('\0') => {
            // Unlike --data-binary it does not look for a file behind an @.
            lines.push(format!("--data-raw {}", quoted(text)));
            lines.join(" \\\n  ")
        }
        _ => {
            lines.push("--data-binary @-".into());
            format!("printf {} | {}", quoted(&escaped(&call.body)), lines.join(" \\\n  "))
        }
    }
}

/// One word for any POSIX shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What `printf` writes as these bytes.
fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" {}[]\":,._-".contains(&byte);
    let written = |byte: &u8| match *byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("\\{byte:03o}"),
    };
    bytes.iter().map(written).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What a shell makes of the command, with a curl that prints its arguments and what it reads.
    fn received(call: &Call) -> Vec<u8> {
        let curl = "curl() { printf '%s\\n' \"$@\"; case \"$*\" in *@-*) cat;; esac; }";
        let script = format!("{curl}\n{}", command(call, "http://127.0.0.1:1/it's"));
        Command::new("sh").arg("-c").arg(script).output().unwrap().stdout
    }

    #[test]
    fn any_body_and_header_reaches_curl_byte_by_byte() {
        let odd: &[&[u8]] =
            &[b"{\"a\": \"it's $HOME `id` \\\\ \\n\"}", b"@file", b"a\r\nb\n", b"\x00\xff%d%%", b"-x"];
        for body in odd {
            let headers = vec![("x-odd".to_owned(), "it's \"$(id)\"".to_owned())];
            let call =
                Call { method: "POST".into(), url: String::new(), headers, body: body.to_vec().into() };
            let got = received(&call);
            let holds = |part: &[u8]| got.windows(part.len()).any(|window| window == part);
            assert!(
                holds(body),
                "{:?} of {:?}",
                String::from_utf8_lossy(&got),
                String::from_utf8_lossy(body)
            );
            assert!(holds(b"x-odd: it's \"$(id)\"") && holds(b"http://127.0.0.1:1/it's"));
        }
    }
}
