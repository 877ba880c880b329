//! mDNS records of whoever is on the network.

use std::{net::IpAddr, time::Duration};

use mdns_sd::{ServiceInfo, TxtProperty};
use qpq_core::{card::LanKey, engine::Directory, id::PeerId, invite::Nameplate};

use super::{
    SERVICE, advert,
    table::{ENTRIES, Table, recognise},
};

/// TXT records, one after the other, each as it is on the wire: strings behind their length, then an empty one. Little
/// of them is believed, and what is kept has a bound.
pub(crate) fn txt(input: &[u8]) {
    let mut directory = Directory::new(LanKey([1; 32]));
    directory.known.insert(PeerId([9; 32]), Some(LanKey([2; 32])));
    directory.looking_for = Nameplate::try_from(4).ok();
    let mut table = Table::default();
    for (nth, record) in records(input).into_iter().enumerate() {
        let ips = [
            "10.0.0.7",
            "10.0.0.7,2001:db8::7,127.0.0.1",
            "224.0.0.1,::,fe80::1",
        ];
        let ips = ips.get(nth % 3).copied().unwrap_or_default();
        let port = if nth % 5 == 4 { 0 } else { 4_711 };
        let info = ServiceInfo::new(SERVICE, &format!("i{nth}"), "h.local.", ips, port, record);
        let Ok(info) = info else {
            continue;
        };
        let Some(read) = advert::read(&info.as_resolved_service()) else {
            continue;
        };
        assert!((1..=advert::ADDRESSES).contains(&read.addresses.len()));
        assert!(read.link_tokens.len() <= advert::LINKS);
        let is_host = |ip: IpAddr| !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback());
        assert!(
            read.addresses
                .iter()
                .all(|address| address.port() != 0 && is_host(address.ip()))
        );
        if let Some(shown) = &read.shown {
            assert_eq!(qpq_core::name::validate(&shown.name).as_ref(), Ok(&shown.name));
        }
        let contact = recognise(&directory, &read);
        table.record(read, contact);
        assert!(table.len() <= ENTRIES);
    }
    table.judge(&directory);
    let _ = (table.seen(), table.neighbours(), table.nameplates());
    for peer in table.seen() {
        let _ = table.addresses_of(peer);
    }
    table.doubt(Duration::from_secs(1));
    table.expire(Duration::from_secs(3_600));
    assert_eq!(table.len(), 0);
}

fn records(input: &[u8]) -> Vec<Vec<TxtProperty>> {
    let (mut records, mut record, mut rest) = (Vec::new(), Vec::new(), input);
    while let Some((len, after)) = rest.split_first() {
        let (string, after) = after.split_at(after.len().min(usize::from(*len)));
        rest = after;
        if string.is_empty() {
            records.push(std::mem::take(&mut record));
            continue;
        }
        let at = string.iter().position(|byte| *byte == b'=');
        let (key, value) = string.split_at(at.unwrap_or(string.len()));
        let key = String::from_utf8_lossy(key).into_owned();
        record.push(match value.split_first() {
            Some((_, value)) => TxtProperty::from((key, value)),
            None => TxtProperty::from(key.as_str()),
        });
    }
    records.push(record);
    records
}
