//! Spans of time as people write them: `90s`, `15m`, `1h30m`, `7d`, `2w`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A span of time as text: numbers with `s`, `m`, `h`, `d` or `w`. Understood by [`Span::seconds`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span(pub String);

/// Longest span: what is meant to be longer is a typing error.
const SECONDS_MAX: u64 = 100 * 366 * 24 * 3600;

impl Span {
    /// How long it is; or what is wrong with it.
    pub fn seconds(&self) -> Result<u64, String> {
        let wrong = || format!("{:?} is no span of time such as 90s, 15m, 1h30m or 7d", self.0);
        let (mut total, mut number) = (0_u64, None::<u64>);
        for c in self.0.chars() {
            if let Some(digit) = c.to_digit(10) {
                let so_far = number.unwrap_or(0).checked_mul(10).ok_or_else(wrong)?;
                number = Some(so_far.checked_add(u64::from(digit)).ok_or_else(wrong)?);
                continue;
            }
            let unit = match c {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 24 * 3600,
                'w' => 7 * 24 * 3600,
                _ => return Err(wrong()),
            };
            let part = number.take().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
        }
        if self.0.is_empty() || number.is_some() || total > SECONDS_MAX {
            return Err(wrong());
        }
        Ok(total)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]{1,9}[smhdw])+$", "maxLength": 32 })
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn spans_are_sums() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(Span(text.to_owned()).seconds().ok(), expected, "{text:?}");
        };
        check("90s", Some(90));
        check("1h30m", Some(5400));
        check("7d", Some(7 * 86_400));
        check("2w1d", Some(15 * 86_400));
        check("0s", Some(0));
        for wrong in
            ["", "5", "h", "1.5h", "-1h", "1y", "1h 5m", "1h5", "99999999999999999999s", "999999999w"]
        {
            check(wrong, None);
        }
    }
}
