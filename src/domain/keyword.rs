//! Words that stop messages, and words that start them again (contracts/moengage.md Q22).

/// The words of a channel, normalized once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keywords {
    stop: Vec<String>,
    start: Vec<String>,
}

/// What a keyword asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    /// No more messages.
    Stop,
    /// Messages again.
    Start,
}

impl Keywords {
    /// Takes the configured words; STOP is always among the stop words.
    pub fn new<S: AsRef<str>>(stop: &[S], start: &[S]) -> Self {
        let normalized = |words: &[S]| words.iter().map(|word| normalize(word.as_ref())).collect();
        let mut stop: Vec<String> = normalized(stop);
        stop.push("stop".into());
        Self {
            stop,
            start: normalized(start),
        }
    }

    /// What a whole reply means: letter case, outer punctuation and repeated spaces do not count.
    pub fn meaning(&self, text: &str) -> Option<Keyword> {
        let text = normalize(text);
        if text.is_empty() {
            None
        } else if self.stop.contains(&text) {
            Some(Keyword::Stop)
        } else if self.start.contains(&text) {
            Some(Keyword::Start)
        } else {
            None
        }
    }
}

fn normalize(text: &str) -> String {
    let text = text.trim().trim_end_matches(['.', '!']).to_lowercase();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_reply_counts() {
        let words = Keywords::new(&["OPT OUT"], &["START"]);
        for text in ["STOP", " stop. ", "Stop!", "opt  out"] {
            assert_eq!(words.meaning(text), Some(Keyword::Stop), "{text}");
        }
        assert_eq!(words.meaning("start"), Some(Keyword::Start));
        for text in ["", "...", "please stop", "stopping", "don't stop"] {
            assert_eq!(words.meaning(text), None, "{text}");
        }
    }
}
