//! Words that stop messages, and words that start them again (contracts/moengage.md Q22).
//!
//! The whole reply counts, as a person sees it: letter case, the forms of one letter, marks on Latin
//! letters, emoji and punctuation around it, and what is invisible make no difference (cases R-20).
//! A word inside a sentence is nothing.

use super::OptOut;
use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};

/// The words of a channel, normalized once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keywords {
    stop: Vec<String>,
    stop_marketing: Vec<String>,
    start: Vec<String>,
}

/// What a keyword asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    /// No more messages, or no more promotions.
    Stop(OptOut),
    /// Messages again.
    Start,
}

impl Keywords {
    /// Takes the configured words: those that stop everything, those that stop promotions, those that
    /// undo the first. STOP, and the text of WhatsApp's own button, are always among them.
    pub fn new<S: AsRef<str>>(stop: &[S], stop_marketing: &[S], start: &[S]) -> Self {
        let normalized = |words: &[S]| {
            words
                .iter()
                .filter_map(|word| seen(word.as_ref()).map(|word| normalize(&word)))
                .collect()
        };
        let with = |words: &[S], word: &str| {
            let mut words: Vec<String> = normalized(words);
            words.push(word.to_owned());
            words
        };
        Self {
            stop: with(stop, "stop"),
            stop_marketing: with(stop_marketing, "stop promotions"),
            start: normalized(start),
        }
    }

    /// What a whole reply means.
    pub fn meaning(&self, text: &str) -> Option<Keyword> {
        let text = normalize(&seen(text)?);
        if text.is_empty() {
            None
        } else if self.stop.contains(&text) {
            Some(Keyword::Stop(OptOut::All))
        } else if self.stop_marketing.contains(&text) {
            Some(Keyword::Stop(OptOut::Marketing))
        } else if self.start.contains(&text) {
            Some(Keyword::Start)
        } else {
            None
        }
    }
}

/// The most characters of a reply that may be a keyword: replies may be long, a letter may be many
/// once it is taken apart, and others wait meanwhile.
const LONGEST: usize = 256;

/// What a person sees of a text, unless that is longer than any keyword.
fn seen(text: &str) -> Option<String> {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let visible = text.trim().chars().filter(|c| !ignorable.contains(*c));
    let seen: String = visible.take(LONGEST + 1).collect();
    (seen.chars().count() <= LONGEST).then_some(seen)
}

/// The form in which two spellings of a word are equal.
fn normalize(seen: &str) -> String {
    // Before it is taken apart too: a trade mark sign is two letters then.
    let visible = seen.trim_matches(|c: char| !belongs(c));
    let apart = DecomposingNormalizerBorrowed::new_nfkd().normalize(visible);
    let mut plain = String::with_capacity(apart.len());
    // Whether a mark would stand on a letter, and on one that it makes another letter.
    let mut carries = false;
    for c in apart.chars() {
        if is_mark(c) {
            if carries {
                plain.push(c);
            }
            continue;
        }
        // Stretches an Arabic word, and means nothing.
        if c == '\u{640}' {
            continue;
        }
        carries = c.is_alphabetic() && !is_latin(c);
        // Through upper case: only so are the sharp s, the final sigma and the dotless i folded.
        plain.extend(one_hyphen(c).to_uppercase().flat_map(char::to_lowercase));
    }
    let mut words = plain.trim_matches(|c: char| !belongs(c));
    if words.is_empty() {
        // Somebody may have configured a hand that says stop.
        words = seen;
    }
    let words = words.split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

/// Keyboards and word processors have their own hyphens and dashes.
fn one_hyphen(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        other => other,
    }
}

/// What is part of a word, not around it. Quotes and accents that stand alone are letters by their
/// category.
fn belongs(c: char) -> bool {
    let alone =
        matches!(c, '\u{2b9}'..='\u{2df}' | '\u{2e5}'..='\u{2ff}' | '\u{a78b}' | '\u{a78c}');
    (c.is_alphanumeric() || is_mark(c)) && !alone
}

fn is_mark(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    GeneralCategoryGroup::Mark.contains(category)
}

/// A letter of Latin script that may carry a mark once it is taken apart.
fn is_latin(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn defaults() -> Keywords {
        let text = include_str!("../../config/default.toml");
        let words = |name: &str| -> Vec<String> {
            let config: toml::Table = text.parse().unwrap();
            let words = config["inbound"][name].as_array().unwrap();
            words
                .iter()
                .map(|word| word.as_str().unwrap().to_owned())
                .collect()
        };
        Keywords::new(
            &words("stop_words"),
            &words("stop_marketing_words"),
            &words("start_words"),
        )
    }

    /// As people and their keyboards write it.
    static STOPS: &[&str] = &[
        "STOP",
        "stop",
        "Stop",
        "sToP",
        " stop ",
        "stop.",
        "STOP!",
        "STOP!!!",
        "stop?",
        "...stop...",
        "\"STOP\"",
        "'stop'",
        "“STOP”",
        "„Stop“",
        "«Stop»",
        "‹stop›",
        "「STOP」",
        "(stop)",
        "[STOP]",
        "*STOP*",
        "_stop_",
        "~STOP~",
        "`stop`",
        "*_STOP_*",
        "¡STOP!",
        "- stop",
        "• STOP",
        "#STOP",
        "STOP 🙏",
        "🛑 STOP 🛑",
        "🛑STOP",
        "stop 👍🏽",
        "stop ❤️",
        "stop 🙋‍♀️",
        "STOP ™",
        "stop\n",
        "\r\nstop\r\n",
        "stop\u{a0}",
        "stop\u{3000}",
        "\u{200b}stop",
        "st\u{200b}op",
        "\u{200e}STOP",
        "\u{200f}STOP\u{200f}",
        "\u{202a}stop\u{202c}",
        "\u{2066}stop\u{2069}",
        "\u{feff}stop",
        "st\u{ad}op",
        "sto\u{2060}p",
        "stop\u{fe0f}",
        "s\u{34f}top",
        "ＳＴＯＰ",
        "ｓｔｏｐ！",
        "𝐒𝐓𝐎𝐏",
        "𝓈𝓉ℴ𝓅",
        "ⓢⓣⓞⓟ",
        "ſtop",
        "stöp",
        "sto\u{301}p",
        "STOPP",
        "unsubscribe",
        "Unsubscrıbe",
        "UNSUBSCRİBE",
        "unsubscri\u{307}be",
        "opt  out",
        "Opt-Out.",
        "стоп",
        "СТОП!",
        "opt\u{2010}out",
        "opt\u{2011}out",
        "OPT\u{2013}OUT",
        "opt\u{2014}out",
        "opt\u{2212}out",
        "opt\u{fe63}out",
        "\u{2bc}STOP\u{2bc}",
        "\u{2bb}stop\u{2bd}",
        "\u{2b9}stop\u{2ba}",
        "\u{2ee}stop\u{2ee}",
        "\u{2014} stop",
        "arrêter les messages",
        "arre\u{302}ter les messages",
        "ARRETER LES MESSAGES",
        "Keine Nachrichten mehr!",
        "Geen berichten meer",
        "¡No más mensajes!",
        "no mas mensajes",
        "退订短信",
        "拒收消息。",
        "配信停止",
        "수신거부",
        "إيقاف الرسائل",
        "ايقاف الرسائل",
        "إيقـــاف الرســـائل",
        "ســـتوب",
        "स्टॉप",
        "mesaj istemiyorum",
        "MESAJ İSTEMİYORUM",
    ];

    static OTHERS: &[&str] = &[
        "",
        " ",
        "...",
        "🛑",
        "\u{200b}",
        "no",
        "No!",
        "alto",
        "fin",
        "fine",
        "ok",
        "cancel",
        "Cancel order",
        "end",
        "quit",
        "abmelden",
        "cancelar",
        "annulla",
        "please stop",
        "please stop by",
        "stop by tomorrow",
        "stop it",
        "stop sign",
        "bus stop",
        "don't stop",
        "dont stop",
        "stopping",
        "stopped",
        "stops",
        "nonstop",
        "non stop",
        "stop 1",
        "1 stop",
        "stop2",
        "stop, please",
        "stop start",
        "s top",
        "s t o p",
        "s.t.o.p",
        "st-op",
        "ѕtор",
        "τοπ",
        "top",
        "step",
        "shop",
        "stoop",
        "stop stop",
        "STOP\nthanks",
        "where do I stop?",
        "Is this the last stop?",
        "Does the train stop at Jena?",
        "unsubscribe me from what?",
        "I did not unsubscribe",
        "opt",
        "out",
        "opt in",
        "basta",
        "arrêt",
        "halt",
        "para",
        "pare",
        "baja",
        "sair",
        "ende",
        "nein",
        "non",
        "нет",
        "停",
        "不",
        "いいえ",
        "아니요",
        "لا",
        "नहीं",
        // Of a booking, a subscription or an account.
        "退订",
        "退訂",
        "取消订阅",
        "구독취소",
        "désabonner",
        "Cancelar suscripción",
        "descadastrar",
        "wypisz mnie",
        "abonelikten çık",
        "berhenti berlangganan",
        "отписка",
        "إلغاء الاشتراك",
        // More messages, or none.
        "plus de messages",
        "st\u{2010}op",
        "stop\u{2bc}s",
        "opt\u{2010}in",
    ];

    #[test]
    fn r_20_a_stop_counts_however_it_is_written() {
        let words = defaults();
        for text in STOPS {
            assert_eq!(
                words.meaning(text),
                Some(Keyword::Stop(OptOut::All)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn r_20_what_only_resembles_a_stop_does_not_count() {
        let words = defaults();
        for text in OTHERS {
            assert_ne!(
                words.meaning(text),
                Some(Keyword::Stop(OptOut::All)),
                "{text:?}"
            );
        }
        assert_eq!(words.meaning("¡Start!"), Some(Keyword::Start));
    }

    /// WhatsApp's own button, in the languages of the templates.
    #[test]
    fn r_21_the_text_of_the_button_stops_promotions_and_nothing_else() {
        let words = defaults();
        for text in [
            "Stop promotions",
            "STOP PROMOTIONS",
            "*Stop promotions!*",
            "Parar promoções",
            "parar promocoes",
            "Detener promociones",
            "Interrompi promozioni",
        ] {
            let meaning = words.meaning(text);
            assert_eq!(meaning, Some(Keyword::Stop(OptOut::Marketing)), "{text}");
        }
        for text in [
            "promotions",
            "stop promotions please",
            "Stop the promotions",
        ] {
            assert_eq!(words.meaning(text), None, "{text}");
        }
        let marketing = |stop: &[&str]| Keywords::new(stop, &["BASTA OFFERTE"], &["START"]);
        for text in ["basta offerte", "stop promotions"] {
            let meaning = marketing(&[]).meaning(text);
            assert_eq!(meaning, Some(Keyword::Stop(OptOut::Marketing)), "{text}");
        }
        // Who was told that it stops everything gets no less.
        let meaning = marketing(&["Stop promotions"]).meaning("stop promotions");
        assert_eq!(meaning, Some(Keyword::Stop(OptOut::All)));
    }

    #[test]
    fn configured_words_replace_the_others_in_any_script_and_stop_stays() {
        let words = Keywords::new(
            &["İPTAL", "re\u{301}silier", "रोकें", "dừng"],
            &[],
            &["weiter"],
        );
        for text in [
            "iptal",
            "IPTAL",
            "ıptal",
            "RÉSILIER",
            "resilier",
            "*रोकें*",
            "Du\u{31b}\u{300}ng",
            "Stop",
        ] {
            assert_eq!(
                words.meaning(text),
                Some(Keyword::Stop(OptOut::All)),
                "{text}"
            );
        }
        assert_eq!(words.meaning("WEITER."), Some(Keyword::Start));
        let words = Keywords::new(&["🛑"], &[], &["weiter"]);
        assert_eq!(
            words.meaning(" 🛑\u{fe0f}\n"),
            Some(Keyword::Stop(OptOut::All))
        );
        assert_eq!(words.meaning("🛑🛑"), None);
        let words = Keywords::new(
            &["İPTAL", "re\u{301}silier", "रोकें", "dừng"],
            &[],
            &["weiter"],
        );
        // In other scripts a mark makes another letter.
        for text in ["unsubscribe", "रोका", "राके"] {
            assert_eq!(words.meaning(text), None, "{text}");
        }
        assert_eq!(Keywords::new(&["й"], &[], &[]).meaning("и"), None);
    }

    /// The store waits meanwhile; the last letter here is 18 once it is taken apart.
    #[test]
    fn what_is_longer_than_a_keyword_is_not_taken_apart() {
        let words = defaults();
        let around = |many: usize| format!("{}stop{}", "!".repeat(many), "?".repeat(many));
        assert_eq!(
            words.meaning(&around(126)),
            Some(Keyword::Stop(OptOut::All))
        );
        assert_eq!(words.meaning(&around(127)), None);
        let invisible = format!("{0}st{0}op{0}", "\u{200b}".repeat(9_000));
        assert_eq!(words.meaning(&invisible), Some(Keyword::Stop(OptOut::All)));
        let blank = format!("{0}stop{0}", "\n".repeat(9_000));
        assert_eq!(words.meaning(&blank), Some(Keyword::Stop(OptOut::All)));
        assert_eq!(seen(&"\u{fdfa}".repeat(20_000)), None);
    }

    proptest! {
        #[test]
        fn a_meaning_never_panics(text in any::<String>()) {
            defaults_once().meaning(&text);
        }

        #[test]
        fn what_is_invisible_or_around_a_text_does_not_change_its_meaning(
            word in prop_oneof![prop::sample::select(STOPS), prop::sample::select(OTHERS)],
            invisible in "[\u{200b}-\u{200f}\u{ad}\u{feff}\u{2060}-\u{2064}\u{fe0f}\u{e0041}]{1,3}",
            around in "[!-/:-@\\[-`{-~ ¡¿«»“”„…🛑🙏❤✋\u{a0}\u{2bc}\u{2014}]{0,5}",
            place in any::<prop::sample::Index>(),
        ) {
            let mut changed: Vec<char> = word.chars().collect();
            let at = place.index(changed.len() + 1);
            changed.splice(at..at, invisible.chars());
            let changed: String = changed.into_iter().collect();
            let words = defaults_once();
            prop_assert_eq!(words.meaning(&format!("{around}{changed}{around}")), words.meaning(word));
        }
    }

    fn defaults_once() -> &'static Keywords {
        static WORDS: std::sync::LazyLock<Keywords> = std::sync::LazyLock::new(defaults);
        &WORDS
    }
}
