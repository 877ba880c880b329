//! Words for codes that people say aloud: 256 for even and 256 for odd positions, eight bits a word.
//!
//! Chosen for this project and part of it, so under its licence (MIT): common English nouns and adjectives of
//! 3 to 7 letters, easy to spell when heard, no two of all 512 closer than two typing errors and none that
//! sounds like another. No word is in both lists, so that a swapped or dropped word is noticed. The order is
//! part of the protocol: a word is its index.

/// The word at the even position of a code, by byte.
pub const FIRST: [&str; 256] = [
    "acorn", "admiral", "almond", "alpaca", "amber", "apricot", "aspen", "aurora", "avocado", "badger",
    "baker", "bamboo", "banana", "birch", "bison", "bobcat", "breeze", "buffalo", "bunny", "cabbage",
    "cactus", "camel", "canyon", "captain", "carbon", "cashew", "catfish", "cherry", "cliff", "cloud",
    "clover", "cobalt", "cobra", "coconut", "condor", "copper", "cougar", "cowboy", "coyote", "crab",
    "crater", "cricket", "crimson", "crystal", "cyclist", "daisy", "dancer", "delta", "diamond", "doctor",
    "dolphin", "dragon", "duck", "eagle", "eclipse", "emerald", "emperor", "falcon", "farmer", "fern",
    "ferret", "finch", "forest", "fox", "frost", "galaxy", "gander", "garlic", "gazelle", "gecko", "ginger",
    "giraffe", "glacier", "goat", "goose", "granite", "grape", "guava", "guppy", "halibut", "hamster",
    "hawk", "heather", "hermit", "hippo", "horizon", "hornet", "hunter", "husky", "hyena", "iguana",
    "impala", "indigo", "iris", "island", "ivy", "jackal", "jade", "jaguar", "jasmine", "juggler", "jungle",
    "juniper", "kestrel", "kiwi", "koala", "ladybug", "lagoon", "lake", "lark", "lentil", "leopard", "lilac",
    "lily", "lizard", "lobster", "locust", "lotus", "macaw", "magenta", "magpie", "mallard", "mammoth",
    "mango", "maple", "marble", "marmot", "meadow", "meerkat", "melon", "meteor", "minnow", "monsoon",
    "moss", "muskrat", "nebula", "neon", "newt", "ninja", "nutmeg", "oak", "oasis", "ocean", "ocelot",
    "octopus", "olive", "onion", "onyx", "opal", "orange", "orbit", "orca", "orchid", "osprey", "ostrich",
    "otter", "owl", "oxygen", "oyster", "painter", "panda", "panther", "papaya", "parrot", "peach", "peanut",
    "pebble", "pecan", "pelican", "penguin", "pigeon", "pilot", "pirate", "planet", "poet", "polecat",
    "polka", "pony", "poodle", "poppy", "possum", "puffin", "puma", "pumpkin", "purple", "python", "quail",
    "quince", "rabbit", "rainbow", "ranger", "raven", "reptile", "river", "robin", "rooster", "ruby",
    "saffron", "salmon", "samba", "sardine", "scarlet", "scholar", "seagull", "shark", "shrimp", "silver",
    "skunk", "sloth", "snail", "sparrow", "spider", "spinach", "spring", "spruce", "squid", "storm",
    "summer", "sunrise", "surfer", "swamp", "swan", "tadpole", "teacher", "termite", "terrier", "thunder",
    "tiger", "tomato", "topaz", "tornado", "toucan", "trout", "tulip", "tuna", "tundra", "turkey", "turtle",
    "typhoon", "unicorn", "urchin", "valley", "vanilla", "viking", "viper", "volcano", "vulture", "wallaby",
    "walnut", "walrus", "warbler", "willow", "winter", "wolf", "wombat", "zebra",
];

/// The word at the odd position of a code, by byte.
pub const SECOND: [&str; 256] = [
    "abacus", "album", "anchor", "apron", "archive", "arrow", "atlas", "bagel", "ballad", "balloon", "banjo",
    "banner", "barn", "barrel", "basket", "battery", "beacon", "bench", "bicycle", "blanket", "blender",
    "blouse", "bonfire", "book", "bottle", "bridge", "broom", "brush", "bubble", "bucket", "buckle", "bugle",
    "bundle", "burrito", "butter", "button", "cabin", "camera", "canal", "candle", "canoe", "caramel",
    "cargo", "carpet", "cartoon", "casino", "castle", "chapel", "cheese", "chimney", "cinema", "circus",
    "coffee", "comma", "compass", "cookie", "cottage", "cotton", "cradle", "crayon", "cube", "cushion",
    "dollar", "dome", "domino", "drum", "dungeon", "easel", "elbow", "engine", "eraser", "fabric", "factory",
    "fiddle", "filter", "flute", "folder", "fossil", "fudge", "furnace", "gadget", "gallery", "garage",
    "garden", "gate", "gazebo", "gift", "glider", "globe", "gong", "gravity", "guitar", "haiku", "hammer",
    "hammock", "harp", "harvest", "helix", "helmet", "hockey", "honey", "hotel", "igloo", "jacket", "jeep",
    "jelly", "jersey", "jigsaw", "journal", "jukebox", "kayak", "kennel", "kettle", "kiosk", "kitchen",
    "kite", "label", "lantern", "laptop", "laser", "laundry", "lecture", "library", "lobby", "luggage",
    "lyric", "magnet", "mailbox", "marina", "market", "matrix", "melody", "mirror", "mosaic", "motor",
    "movie", "mural", "museum", "napkin", "nectar", "needle", "nugget", "office", "opera", "origami",
    "outfit", "oven", "padlock", "palace", "pancake", "paper", "parade", "parasol", "pasta", "pastry",
    "pencil", "perfume", "piano", "pickle", "picnic", "pigment", "pillar", "pipe", "pizza", "podium",
    "pollen", "poncho", "portal", "poster", "powder", "pretzel", "pudding", "pulley", "puppet", "puzzle",
    "pyramid", "quilt", "radar", "radio", "raft", "railway", "ramp", "recipe", "ribbon", "robot", "rocket",
    "rope", "saddle", "salad", "salsa", "sausage", "scarf", "school", "scooter", "shampoo", "shelter",
    "shovel", "shuttle", "siren", "skate", "sketch", "sled", "slipper", "soap", "sock", "sofa", "sponge",
    "spoon", "stadium", "statue", "stove", "street", "studio", "subway", "sweater", "syrup", "table",
    "tattoo", "teapot", "temple", "thimble", "thread", "ticket", "toaster", "tofu", "token", "torch",
    "towel", "tractor", "trailer", "train", "tripod", "trophy", "truck", "trumpet", "tugboat", "tunnel",
    "turbine", "uniform", "vase", "vault", "velvet", "video", "village", "vinegar", "violin", "volume",
    "voyage", "waffle", "wagon", "wallet", "whisker", "whistle", "window", "zigzag", "zipper",
];

/// The word of the list that a mistyped one is nearest to: at most one typing error away, two where five
/// letters or more were typed.
pub fn nearest(list: &[&'static str; 256], typed: &str) -> Option<&'static str> {
    let typed = typed.as_bytes();
    // Nothing longer can be near, and hostile input of any length is not compared.
    if typed.len() > 9 {
        return None;
    }
    let within = |errors| list.iter().find(|word| is_within(word.as_bytes(), typed, errors));
    let near = within(1).or_else(|| if typed.len() > 4 { within(2) } else { None });
    near.copied()
}

/// Whether one text becomes the other by at most so many errors: a letter missing, added, replaced, or two
/// neighbours exchanged.
fn is_within(a: &[u8], b: &[u8], errors: u8) -> bool {
    match (a, b) {
        ([], rest) | (rest, []) => rest.len() <= usize::from(errors),
        // Equal heads are never worth an error.
        ([x, a_tail @ ..], [y, b_tail @ ..]) if x == y => is_within(a_tail, b_tail, errors),
        ([x, a_tail @ ..], [y, b_tail @ ..]) => {
            let Some(left) = errors.checked_sub(1) else {
                return false;
            };
            let exchanged = match (a_tail, b_tail) {
                ([x2, a_rest @ ..], [y2, b_rest @ ..]) if x == y2 && x2 == y => {
                    is_within(a_rest, b_rest, left)
                }
                _ => false,
            };
            exchanged
                || is_within(a_tail, b_tail, left)
                || is_within(a, b_tail, left)
                || is_within(a_tail, b, left)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests fail by panicking")]

    use super::*;

    fn all() -> Vec<&'static str> {
        FIRST.iter().chain(&SECOND).copied().collect()
    }

    #[test]
    fn words_are_short_and_plain() {
        for word in all() {
            assert!((3..=7).contains(&word.len()), "{word}");
            assert!(word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
        }
        assert!(FIRST.is_sorted() && SECOND.is_sorted());
        assert!(FIRST.contains(&"otter") && SECOND.contains(&"violin"));
    }

    #[test]
    fn no_two_words_of_both_lists_are_one_error_apart() {
        let all = all();
        for (index, a) in all.iter().enumerate() {
            for b in &all[index + 1..] {
                assert!(!is_within(a.as_bytes(), b.as_bytes(), 1), "{a} and {b}");
            }
        }
    }

    #[test]
    fn errors_are_counted_as_people_make_them() {
        let cases = [
            ("otter", "otter", 0),
            ("otter", "oter", 1),
            ("otter", "ottter", 1),
            ("otter", "ofter", 1),
            ("otter", "ottre", 1),
            ("otter", "tter", 1),
            ("otter", "otters", 1),
            ("otter", "toetr", 2),
            ("otter", "", 5),
            ("kitten", "sitting", 3),
        ];
        for (a, b, errors) in cases {
            for (a, b) in [(a, b), (b, a)] {
                assert!(is_within(a.as_bytes(), b.as_bytes(), errors), "{a} {b}");
                assert!(
                    errors == 0 || !is_within(a.as_bytes(), b.as_bytes(), errors - 1),
                    "{a} {b}"
                );
            }
        }
    }

    #[test]
    fn the_nearest_word_is_suggested() {
        assert_eq!(nearest(&FIRST, "oter"), Some("otter"));
        assert_eq!(nearest(&SECOND, "voilin"), Some("violin"));
        assert_eq!(nearest(&SECOND, "fiolim"), Some("violin"));
        assert_eq!(nearest(&SECOND, "xyzzy"), None);
        assert_eq!(nearest(&FIRST, ""), None);
        assert_eq!(nearest(&FIRST, &"otter".repeat(100_000)), None);
    }
}
