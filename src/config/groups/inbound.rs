//! What people write to us.

use crate::config::parse;
use crate::config::reader::{Reader, long, one};
use crate::config::setting::{Setting, setting};
use crate::domain::{Keyword, Keywords};
use std::time::Duration;

#[rustfmt::skip]
const STOP: &[&str] = &[
    "STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "OPT OUT", "OPT-OUT", "OPTOUT",
    "STOP MESSAGES", "NO MORE MESSAGES", "STOPP", "KEINE NACHRICHTEN MEHR",
    "GEEN BERICHTEN MEER", "STOP BERICHTEN", "ARRÊTER LES MESSAGES", "ARRÊTEZ LES MESSAGES",
    "NE PLUS RECEVOIR DE MESSAGES", "NO MÁS MENSAJES", "NO QUIERO MÁS MENSAJES",
    "PARAR MENSAGENS", "NÃO QUERO MAIS MENSAGENS", "BASTA MESSAGGI", "STOP MESSAGGI",
    "BERHENTI KIRIM PESAN", "MESAJ İSTEMİYORUM", "NIE CHCĘ WIADOMOŚCI",
    "NIE CHCĘ WIĘCEJ WIADOMOŚCI", "NGỪNG NHẬN TIN", "NGỪNG NHẬN TIN NHẮN", "СТОП",
    "ОТПИСАТЬСЯ ОТ РАССЫЛКИ", "НЕ ПИШИТЕ МНЕ", "ВІДПИСАТИСЯ ВІД РОЗСИЛКИ", "НЕ ПИШІТЬ МЕНІ",
    "إيقاف الرسائل", "ايقاف الرسائل", "أوقفوا الرسائل", "ستوب", "स्टॉप", "अनसब्सक्राइब",
    "संदेश बंद करें", "मैसेज बंद करें", "退订短信", "退訂簡訊", "拒收消息", "拒收訊息", "不再接收消息", "配信停止",
    "수신거부", "수신 거부", "ยกเลิกการรับข่าวสาร", "หยุดส่งข้อความ",
];
const STOP_MARKETING: &[&str] = &[
    "STOP PROMOTIONS",
    "PARAR PROMOÇÕES",
    "DETENER PROMOCIONES",
    "INTERROMPI PROMOZIONI",
];
const START: &[&str] = &["START", "UNSTOP", "SUBSCRIBE", "OPT IN", "OPT-IN", "OPTIN"];

settings! {
    /// What people write to us.
    struct Inbound {
        /// Whole messages that opt a person out. Letter case, accents on Latin letters, emoji and
        /// punctuation around them do not count. None of these may mean anything else, as CANCEL may mean
        /// an order, and what ends a subscription may mean one that is paid for. A list of your own
        /// replaces them; STOP is always among them.
        stop_words: Vec<String> = stop_words,
            setting("inbound.stop_words").list(STOP);
        /// Whole messages that opt a person out of promotions only: of templates that Jumper lists as
        /// MARKETING. They are the texts of WhatsApp's own button, in the languages of your templates;
        /// Stop promotions is always among them.
        stop_marketing_words: Vec<String> = upper_words,
            setting("inbound.stop_marketing_words").list(STOP_MARKETING);
        /// Whole messages, in any case, that undo the first of the two. Who stopped promotions has done so
        /// at WhatsApp itself: there they are allowed again.
        start_words: Vec<String> = upper_words,
            setting("inbound.start_words").list(START);
        /// Whether a text that answers no message of ours is relayed to MoEngage: true or false.
        relay_unmatched: bool = one(parse::switch),
            setting("inbound.relay_unmatched").default("false");
        /// How long after a message a text without context is taken as its answer.
        reply_window: Duration = long(),
            setting("inbound.reply_window").default("7d");
    }
}

fn stop_words(r: &mut Reader<'_>, setting: &'static Setting) -> Option<Vec<String>> {
    let mut words = upper_words(r, setting)?;
    // MoEngage's form of an opt-out (contracts/moengage.md section 11, Q22).
    if !words.iter().any(|word| word == "STOP") {
        words.insert(0, "STOP".to_owned());
    }
    Some(words)
}

fn upper_words(r: &mut Reader<'_>, setting: &'static Setting) -> Option<Vec<String>> {
    r.list(setting, |text| Ok(text.to_uppercase()))
}

/// Whether a word opts a person out and in again. As a reply is compared: two spellings of one word are
/// one word.
pub(in crate::config) fn is_contradictory(r: &mut Reader<'_>) -> bool {
    type Read = fn(&mut Reader<'_>, &'static Setting) -> Option<Vec<String>>;
    let mut words = |key: &str, read: Read| {
        let setting = Setting::named(key);
        setting
            .and_then(|setting| read(r, setting))
            .unwrap_or_default()
    };
    let stop = words("inbound.stop_words", stop_words);
    let marketing = words("inbound.stop_marketing_words", upper_words);
    let start = words("inbound.start_words", upper_words);
    let known = Keywords::new(&stop, &marketing, &start);
    let is_stop = |word: &String| matches!(known.meaning(word), Some(Keyword::Stop(_)));
    start.iter().any(is_stop)
}
