//! Everything that a user or a peer can bring about, as it is killed at each of its points.

use std::time::Duration;

use qpq_core::{
    contact::Standing,
    engine::{Command, ContactChange, Input, Purpose, Reply},
    invite::{Link, Nameplate},
    wire::Frame,
};

use crate::net::{self, Net};

/// One of them. `act` is what is killed; afterwards it is done again, as far as it was not done.
pub(crate) struct Flow {
    pub(crate) name: &'static str,
    pub(crate) prepare: fn() -> Net,
    pub(crate) act: fn(&mut Net),
    pub(crate) check: fn(&mut Net),
}

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) const FLOWS: [Flow; 20] = [
    flow("join by code", || Net::new(&["anna", "ben"]), by_code, talk),
    flow("meet a second time", waiting, pair_again, talk),
    flow(
        "join by link, accept",
        || Net::new(&["anna", "ben"]),
        by_link,
        talk,
    ),
    flow(
        "join by link, refuse",
        || Net::new(&["anna", "ben", "carla"]),
        refused_link,
        |_| {},
    ),
    flow(
        "a request gets another name",
        known_name_asks,
        rename_and_accept,
        talk,
    ),
    flow("rename and verify", Net::pair, rename_and_verify, |net| {
        assert_eq!(name_of(net, 1).as_deref(), Some("benny"));
        net.send(0, "benny", &["to ben"]);
        assert_eq!(net.texts(1, false).last().unwrap(), "to ben");
    }),
    flow("block", three, block, |net| {
        assert!(
            net.reader(0)
                .people()
                .unwrap()
                .iter()
                .any(|person| person.blocked)
        );
        talk(net);
    }),
    flow("unblock", blocked, unblock, talk),
    flow("replace", two_bens, replace, |net| {
        net.send(0, "ben", &["to the new one"]);
        assert_eq!(net.texts(2, false), ["waits", "to the new one"]);
    }),
    flow("refuse a new key", two_bens, refuse_held, talk),
    flow("remove", waiting, |net| remove(net, false), meet_again),
    flow("remove and purge", waiting, |net| remove(net, true), meet_again),
    flow("send, receive, read", Net::pair, converse, talk),
    flow("send to somebody away", away, send_and_come_back, talk),
    flow("repair", lossy, converse, talk),
    flow("a group is lost by the inviter", || lost(&[0]), reconnect, talk),
    flow("a group is lost by the joiner", || lost(&[1]), reconnect, talk),
    flow("both lose their groups", || lost(&[0, 1]), reconnect, talk),
    flow("a message expires", old, expire, talk),
    flow("links end", || Net::new(&["anna", "ben"]), links_end, |_| {}),
];

const fn flow(name: &'static str, prepare: fn() -> Net, act: fn(&mut Net), check: fn(&mut Net)) -> Flow {
    Flow {
        name,
        prepare,
        act,
        check,
    }
}

/// Each reads what the other sends from now on.
fn talk(net: &mut Net) {
    for (from, to, name) in [(0, 1, "ben"), (1, 0, "anna")] {
        let text = format!("last word to {name}");
        net.send(from, name, &[&text]);
        net.pass(Duration::from_secs(5));
        assert_eq!(net.texts(to, false).iter().filter(|got| **got == text).count(), 1);
    }
}

fn alive(net: &Net, at: usize) -> bool {
    net.peers[at].engine.is_some()
}

fn standing(net: &Net, at: usize, of: usize) -> Option<Standing> {
    let people = net.reader(at).people().unwrap();
    let person = people.into_iter().find(|person| person.peer == net.id(of))?;
    Some(person.standing)
}

fn name_of(net: &Net, of: usize) -> Option<String> {
    let people = net.reader(0).people().unwrap();
    let person = people.into_iter().find(|person| person.peer == net.id(of))?;
    Some(person.name)
}

fn are_contacts(net: &Net) -> bool {
    [(0, 1), (1, 0)]
        .iter()
        .all(|(at, of)| standing(net, *at, *of) == Some(Standing::Known))
}

fn change(net: &mut Net, of: usize, change: ContactChange) {
    let peer = net.id(of);
    net.attempt(0, Command::Contact { peer, change });
}

/// Sends a text that was not accepted yet.
fn say(net: &mut Net, from: usize, to: &str, text: &str) {
    if alive(net, from) && !net.texts(from, true).iter().any(|sent| sent == text) {
        let (chat, texts) = (to.to_owned(), vec![(net::message_id(), text.to_owned())]);
        net.attempt(from, Command::Send { chat, texts });
    }
}

fn reconnect(net: &mut Net) {
    if alive(net, 0) && alive(net, 1) {
        net.connect(0, 1, Purpose::Peer);
        net.run();
    }
}

fn by_code(net: &mut Net) {
    if !are_contacts(net) {
        invite_and_join(net);
    }
}

/// As somebody does whose contact has lost everything, or says so.
fn pair_again(net: &mut Net) {
    if !alive(net, 1) && net.peers[1].points.hits.is_empty() {
        net.start(1);
    }
    invite_and_join(net);
}

fn invite_and_join(net: &mut Net) {
    net.attempt(0, Command::CancelInvite);
    let (nameplate, lifetime) = (Nameplate::try_from(4).unwrap(), DAY);
    let Some(Ok(Reply::Invited(code))) = net.attempt(0, Command::Invite { nameplate, lifetime }) else {
        return;
    };
    net.attempt(1, Command::Join(code));
    let peer = net.id(0);
    net.input(1, Input::Advert { peer, nameplate });
    net.run();
}

/// A link of Anna's, asked with by the others.
fn ask(net: &mut Net, joiners: &[usize]) -> Option<Link> {
    let lifetime = DAY;
    let Some(Ok(Reply::Link { link, .. })) = net.attempt(0, Command::InviteLink { lifetime }) else {
        return None;
    };
    let text = link.to_text();
    for joiner in joiners {
        net.attempt(*joiner, Command::JoinLink(text.parse().unwrap()));
        if alive(net, *joiner) {
            net.dial_links(*joiner);
        }
    }
    text.parse().ok()
}

fn is_asking(net: &Net) -> bool {
    let asking = net.reader(0).asking().unwrap();
    asking.iter().any(|asking| asking.peer == net.id(1))
}

fn by_link(net: &mut Net) {
    if are_contacts(net) {
        return;
    }
    if standing(net, 0, 1).is_none() && !is_asking(net) {
        ask(net, &[1]);
    }
    if alive(net, 0) && is_asking(net) {
        change(net, 1, ContactChange::Accept);
    }
}

fn refused_link(net: &mut Net) {
    if alive(net, 0) && !is_asking(net) {
        ask(net, &[1, 2]);
    }
    if alive(net, 0) && is_asking(net) {
        change(net, 1, ContactChange::Refuse);
    }
}

fn known_name_asks() -> Net {
    let mut net = Net::new(&["anna", "ben", "ben"]);
    let code = net.invite(0);
    net.join(1, 0, code);
    let link = net.invite_by_link(0);
    net.join_by_link(2, &link).unwrap();
    net
}

fn rename_and_accept(net: &mut Net) {
    change(net, 2, ContactChange::Rename("benno".into()));
    change(net, 2, ContactChange::Accept);
}

fn rename_and_verify(net: &mut Net) {
    change(net, 1, ContactChange::Rename("benny".into()));
    change(net, 1, ContactChange::Verified);
}

fn three() -> Net {
    let mut net = Net::new(&["anna", "ben", "carla"]);
    for joiner in [1, 2] {
        let code = net.invite(0);
        net.join(joiner, 0, code);
    }
    net
}

fn block(net: &mut Net) {
    change(net, 2, ContactChange::Block(true));
}

fn blocked() -> Net {
    let mut net = Net::pair();
    change(&mut net, 1, ContactChange::Block(true));
    net
}

fn unblock(net: &mut Net) {
    change(net, 1, ContactChange::Block(false));
    reconnect(net);
}

fn two_bens() -> Net {
    let mut net = Net::new(&["anna", "ben", "ben"]);
    let code = net.invite(0);
    net.join(1, 0, code);
    net.crash(1);
    net.run();
    net.send(0, "ben", &["waits"]);
    let code = net.invite(0);
    net.join(2, 0, code);
    net
}

fn replace(net: &mut Net) {
    if standing(net, 0, 2) == Some(Standing::Held) {
        change(net, 2, ContactChange::Replace);
    }
    if alive(net, 0) && alive(net, 2) {
        net.connect(0, 2, Purpose::Peer);
        net.run();
    }
}

fn refuse_held(net: &mut Net) {
    if standing(net, 0, 2) == Some(Standing::Held) {
        change(net, 2, ContactChange::Refuse);
    }
}

fn waiting() -> Net {
    let mut net = Net::pair();
    net.send(0, "ben", &["read"]);
    net.crash(1);
    net.run();
    net.send(0, "ben", &["never read"]);
    net
}

fn remove(net: &mut Net, purge: bool) {
    change(net, 1, ContactChange::Remove { purge });
}

fn meet_again(net: &mut Net) {
    let code = net.invite(0);
    net.join(1, 0, code);
    talk(net);
}

fn converse(net: &mut Net) {
    for n in 0..3 {
        say(net, 0, "ben", &format!("{n} to ben"));
        say(net, 1, "anna", &format!("{n} to anna"));
    }
    net.pass(Duration::from_secs(5));
    if alive(net, 1)
        && let Some(last) = net.messages(1).last()
    {
        let row = last.row;
        net.attempt(1, Command::MarkRead { row });
    }
}

/// The first ciphertext of Anna's is lost.
fn lossy() -> Net {
    let mut net = Net::pair();
    let mut lost = false;
    net.lossy = Box::new(move |from, _, frame| {
        let lose = from == 0 && !lost && matches!(Frame::decode(frame), Ok(Frame::App(_)));
        lost |= lose;
        lose
    });
    net
}

fn away() -> Net {
    let mut net = Net::pair();
    net.crash(1);
    net.run();
    net
}

fn send_and_come_back(net: &mut Net) {
    for n in 0..3 {
        say(net, 0, "ben", &format!("{n} for later"));
    }
    if !alive(net, 1) && net.peers[1].points.hits.is_empty() {
        net.start(1);
    }
    reconnect(net);
}

fn lost(victims: &[usize]) -> Net {
    let mut net = Net::pair();
    net.send(0, "ben", &["before a"]);
    net.cut();
    net.run();
    net.send(0, "ben", &["waits a"]);
    net.send(1, "anna", &["waits b"]);
    for victim in victims {
        net.lose_groups(*victim);
    }
    net
}

fn old() -> Net {
    let mut net = away();
    net.send(0, "ben", &["gone"]);
    net.pass(30 * DAY - DAY / 24);
    net
}

fn expire(net: &mut Net) {
    net.pass(DAY / 4);
    say(net, 0, "ben", "here");
    if !alive(net, 1) && net.peers[1].points.hits.is_empty() {
        net.start(1);
    }
    reconnect(net);
    net.pass(Duration::from_secs(70));
}

fn links_end(net: &mut Net) {
    if let Some(link) = ask(net, &[]) {
        net.attempt(0, Command::CancelLink(link.id()));
    }
    if let Some(link) = ask(net, &[]) {
        net.attempt(0, Command::ForgetLink(link.id()));
    }
    ask(net, &[]);
    net.pass(3 * DAY);
}
