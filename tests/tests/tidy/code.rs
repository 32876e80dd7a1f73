//! Rust text without what is not code, so that rules don't trip over comments and strings.

/// The code without comments, and without what is inside of string and character literals; lines stay where they are.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        let blank = |c: &char| if *c == '\n' { '\n' } else { ' ' };
        match end {
            Some(end) => {
                out.extend(chars[at..end].iter().map(blank));
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// The end of the comment or literal that begins at `at`, if one does.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    let is_word = |i: usize| chars.get(i).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    match rest {
        ['/', '/', ..] => Some(rest.iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n)),
        ['/', '*', ..] => {
            let end = rest.windows(2).position(|w| w == ['*', '/']);
            Some(end.map_or(chars.len(), |n| at + n + 2))
        }
        ['r', '"' | '#', ..] if at == 0 || !is_word(at - 1) || chars[at - 1] == 'b' => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            if rest.get(1 + hashes) != Some(&'"') {
                return None;
            }
            let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let body = &rest[2 + hashes..];
            let end = body.windows(closing.len()).position(|w| w == closing);
            Some(end.map_or(chars.len(), |n| at + 2 + hashes + n + closing.len()))
        }
        ['"', ..] => Some(quoted_end(chars, at, '"')),
        ['\'', '\\', ..] => Some(quoted_end(chars, at, '\'')),
        ['\'', _, '\'', ..] => Some(at + 3),
        _ => None,
    }
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

#[test]
fn only_code_is_left() {
    let same_length = |text: &str| {
        let code = code_only(text);
        assert_eq!(code.lines().count(), text.lines().count());
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(same_length("a /* b\n */ c // d\ne"), "a c e");
    assert_eq!(same_length("f(\"{\\\"\", '{', '\\'', b'\"') }"), "f( , , , b ) }");
    assert_eq!(same_length("r#\"a\"{\"# x br\"{\" y"), "x b y");
    assert_eq!(same_length("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
}
