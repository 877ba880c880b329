//! A clock that cannot be right is named, and nothing else is made of it. The rules are tested in the core, where time
//! is an argument; here the last look of a real profile is moved instead of the machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    mortal::database,
    people::{Person, free_port, object, text},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Makes the profile believe that the clock showed this when it was last looked at.
fn looked(person: &Person, unix_ms: i64) {
    let folder = person.home.path().join("default");
    let connection = database(&folder);
    let sql = "UPDATE meta SET value = CAST(CAST(?1 AS TEXT) AS BLOB) WHERE key = 'looked'";
    assert_eq!(connection.execute(sql, [unix_ms]).unwrap(), 1);
}

#[test]
fn a_clock_that_is_far_off_is_named_at_the_start_and_a_link_stays() {
    let anna = Person::new("anna", free_port());
    let invite = object(&text(
        anna.run(&["invite", "--link", "--json", "--expires", "30d"]),
        0,
    ));
    assert!(invite["link"].is_string());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    for (clock, is_told) in [
        (0, false),
        (-365 * DAY_MS, true),
        (-DAY_MS / 24, true),
        (90 * DAY_MS, false),
        (3_650 * DAY_MS, true),
    ] {
        // A clock that is so far from what it was.
        looked(&anna, now - clock);
        let ended = anna.run(&["listen", "--timeout", "1ms"]);
        let stderr = String::from_utf8(ended.stderr.clone()).unwrap();
        text(ended, 0);
        assert_eq!(stderr.contains("clock"), is_told, "{clock}: {stderr}");
        let links = text(anna.run(&["invite", "list", "--json"]), 0);
        assert_eq!(links.lines().count(), 1, "{clock}");
    }
}
