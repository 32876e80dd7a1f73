//! Sizes as Kubernetes writes them: `10Gi`, `1.5M`, `128974848`, `1e9`.

/// The size in bytes, rounded down; `None` for what is no size.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor: f64 = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => {
            10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok().filter(|e| (0..=18).contains(e))?)
        }
    };
    let size = number * factor;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    (size.is_finite() && (0.0..=1.8e19).contains(&size)).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_of_kubernetes() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(bytes(text), expected, "{text:?}");
        check("10Gi", Some(10 << 30));
        check("1.5M", Some(1_500_000));
        check("128974848", Some(128_974_848));
        check("1e9", Some(1_000_000_000));
        check("2E3", Some(2000));
        check("1E", Some(1_000_000_000_000_000_000));
        check("500m", Some(0));
        for wrong in ["", "Gi", "-1Gi", "1Gb", "1..5Gi", "1e99", "9999Ei"] {
            check(wrong, None);
        }
    }
}
