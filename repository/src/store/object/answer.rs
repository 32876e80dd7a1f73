//! The XML that stores explain a refusal with, made short: some send kilobytes, signatures and all.

/// Codes of a 404 that are about the object itself.
pub(super) const MISSING: &[&str] =
    &["NoSuchKey", "NoSuchVersion", "NotFound", "BlobNotFound", "ResourceNotFound"];

/// No cause is longer in messages.
const BYTES_MAX: usize = 600;

/// The code in an error's text, where the store sent one.
pub(super) fn code(text: &str) -> Option<&str> {
    element(text, "Code")
}

/// The text with `Code: message` in place of the XML.
pub(super) fn short(text: &str) -> String {
    let xml = ["<?xml", "<Error>"].iter().filter_map(|start| text.find(start)).min();
    let told = match (xml, code(text)) {
        (Some(at), Some(code)) => {
            let message = element(text, "Message").unwrap_or_default();
            format!("{}{code}: {message}", &text[..at])
        }
        _ => text.to_owned(),
    };
    let mut end = told.len().min(BYTES_MAX);
    while !told.is_char_boundary(end) {
        end -= 1;
    }
    told[..end].trim_end_matches([' ', ':']).to_owned()
}

/// The text of the first element of this name.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let inner = text.split_once(&format!("<{name}>"))?.1;
    Some(inner.split_once('<')?.0.trim())
}

#[cfg(test)]
mod tests;
