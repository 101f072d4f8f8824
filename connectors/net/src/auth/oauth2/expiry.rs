//! How long tokens count, where the answer does not say.

use std::time::Duration;

use base64::Engine as _;
use karez_api::{Json, Millis};

use crate::auth::expiry;
use crate::jose::BASE64URL;
use crate::spec::ExpiryFormat;

/// How long from now. `there` is the time on the server's clock.
pub(crate) fn remaining(value: &Json, format: ExpiryFormat, there: Millis) -> Option<Duration> {
    let at = expiry::read(value, format, there)?;
    Some(Duration::from_millis(at.0.saturating_sub(there.0)))
}

/// What a JWT says of its own end. It is not proved, and need not be: it only tells when to ask for another.
pub(crate) fn of_jwt(token: &str, there: Millis) -> Option<Duration> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = BASE64URL.decode(claims).ok()?;
    let claims: Json = serde_json::from_slice(&claims).ok()?;
    remaining(claims.get("exp")?, ExpiryFormat::EpochSeconds, there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NOW;

    #[test]
    fn a_jwt_tells_its_own_end() {
        let claims = BASE64URL.encode(r#"{"exp":1795515330,"sub":"a"}"#);
        assert_eq!(of_jwt(&format!("e30.{claims}.c2ln"), NOW), Some(Duration::from_secs(30)));
        for other in ["opaque", "a.b.c", "e30.e30.c2ln"] {
            assert_eq!(of_jwt(other, NOW), None, "{other}");
        }
    }
}
