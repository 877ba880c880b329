//! mdns-sd in two halves: one thread answers for us, the other looks around.
//!
//! mdns-sd bounds neither its cache nor its timers, so a flood of forged services grows whichever daemon
//! hears it. The browsing half is thrown away and started again when it has seen too much; the answering half
//! lives apart from it, so that this sends no goodbye and no announcement of ours.

use std::time::Duration;

use mdns_sd::{DaemonEvent, IfKind, Metrics, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};

use super::{SERVICE, random_label};
use crate::endpoint::Interfaces;

/// Records in the cache of one daemon, at some 400 bytes each with their timers.
const CACHE_MAX: i64 = 16 * 1_024;

/// How soon a change of the own addresses is seen: mdns-sd's own five seconds are too slow for roaming.
const IP_CHECK_SECONDS: u32 = 1;

/// How long a daemon may take to say goodbye.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where and how mDNS is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MdnsSettings {
    pub(crate) interfaces: Interfaces,
    pub(crate) port: u16,
}

/// A running daemon. mdns-sd's own handle leaves its thread, sockets and cache behind when it is dropped.
struct Daemon {
    handle: ServiceDaemon,
    /// The answer to the last question for the size of the cache.
    size: Option<Receiver<Metrics>>,
}

impl Daemon {
    fn start(settings: &MdnsSettings) -> mdns_sd::Result<Self> {
        let handle = ServiceDaemon::new_with_port(settings.port)?;
        let daemon = Self { handle, size: None };
        daemon.handle.set_ip_check_interval(IP_CHECK_SECONDS)?;
        let only: Vec<IfKind> = match &settings.interfaces {
            Interfaces::All => return Ok(daemon),
            Interfaces::Loopback => vec![IfKind::LoopbackV4],
            Interfaces::Named(names) => names.iter().cloned().map(IfKind::Name).collect(),
        };
        daemon.handle.disable_interface(IfKind::All)?;
        daemon.handle.enable_interface(only)?;
        Ok(daemon)
    }

    /// Asks for the size of the cache, unless the last answer is still awaited; false: there is no daemon any
    /// more. One that does not answer is busy, not broken.
    fn ask_size(&mut self) -> bool {
        if self.size.is_none() {
            match self.handle.get_metrics() {
                Ok(answer) => self.size = Some(answer),
                Err(mdns_sd::Error::Again) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error says that it ended before: its queue of commands has room, as each question waits for an
        // answer and announcements are rare.
        let _ = self.handle.shutdown();
    }
}

/// Ends when the cache is over its bound, or the daemon gone. Whoever asks for the size need not wait for the
/// answer meanwhile: events that nobody takes end a daemon's subscription.
async fn bloated(size: &mut Option<Receiver<Metrics>>) {
    while let Some(answer) = size {
        let Ok(metrics) = answer.recv_async().await else {
            return;
        };
        *size = None;
        let cached = metrics.iter().filter(|(name, _)| name.starts_with("cached-"));
        if cached.map(|(_, count)| *count).sum::<i64>() > CACHE_MAX {
            return;
        }
    }
    std::future::pending().await
}

/// The half that looks around.
pub(crate) struct Browser {
    daemon: Daemon,
    events: Receiver<ServiceEvent>,
}

impl Browser {
    pub(crate) fn start(settings: &MdnsSettings) -> mdns_sd::Result<Self> {
        let daemon = Daemon::start(settings)?;
        let events = daemon.handle.browse(SERVICE)?;
        Ok(Self { daemon, events })
    }

    /// `None`: it has to be replaced, for it has ended, we were too slow for a flood, or it is bloated.
    pub(crate) async fn next(&mut self) -> Option<ServiceEvent> {
        tokio::select! {
            event = self.events.recv_async() => event.ok(),
            () = bloated(&mut self.daemon.size) => None,
        }
    }

    /// Has [`Self::next`] end when the cache has grown too large; false: there is no daemon any more.
    pub(crate) fn check(&mut self) -> bool {
        self.daemon.ask_size()
    }
}

/// The half that answers for us.
pub(crate) struct Responder {
    daemon: Daemon,
    events: Receiver<DaemonEvent>,
    /// Full name of the service that is announced.
    announced: Option<String>,
}

impl Responder {
    pub(crate) fn start(settings: &MdnsSettings) -> mdns_sd::Result<Self> {
        let daemon = Daemon::start(settings)?;
        let events = daemon.handle.monitor()?;
        Ok(Self {
            daemon,
            events,
            announced: None,
        })
    }

    /// As [`Browser::next`].
    pub(crate) async fn next(&mut self) -> Option<DaemonEvent> {
        tokio::select! {
            event = self.events.recv_async() => event.ok(),
            () = bloated(&mut self.daemon.size) => None,
        }
    }

    /// As [`Browser::check`].
    pub(crate) fn check(&mut self) -> bool {
        self.daemon.ask_size()
    }

    /// Announces a service under new random names, and takes back the one before.
    ///
    /// New names, for each record may be multicast only once a second (RFC 6762, section 6): under an old name
    /// a changed TXT record would be out of step with the others, and an answer at the wrong moment would
    /// lack it. mdns-sd takes such an answer for complete.
    pub(crate) fn announce(&mut self, port: u16, txt: &[(String, String)]) -> mdns_sd::Result<()> {
        let host = format!("{}.local.", random_label());
        let mut service =
            ServiceInfo::new(SERVICE, &random_label(), &host, "", port, txt)?.enable_addr_auto();
        // The names are random: probing for conflicts would cost half a second for nothing.
        service.set_requires_probe(false);
        let name = service.get_fullname().to_owned();
        self.daemon.handle.register(service)?;
        if let Some(old) = self.announced.replace(name) {
            self.daemon.handle.unregister(&old)?;
        }
        Ok(())
    }

    /// Ends the daemon, which says goodbye for our service first.
    pub(crate) async fn stop(&self) {
        if let Ok(done) = self.daemon.handle.shutdown() {
            let _ = tokio::time::timeout(PATIENCE, done.recv_async()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::lan::tests::{deadline, eventually, free_port};

    fn settings() -> MdnsSettings {
        MdnsSettings {
            interfaces: Interfaces::Loopback,
            port: free_port(),
        }
    }

    async fn ended(handle: ServiceDaemon) {
        eventually(|| matches!(handle.get_metrics(), Err(mdns_sd::Error::DaemonShutdown))).await;
    }

    #[tokio::test]
    async fn a_half_that_is_dropped_takes_its_thread_with_it() {
        let browser = Browser::start(&settings()).unwrap();
        let responder = Responder::start(&settings()).unwrap();
        let handles = [browser.daemon.handle.clone(), responder.daemon.handle.clone()];
        drop((browser, responder));
        for handle in handles {
            ended(handle).await;
        }
    }

    #[tokio::test]
    async fn a_daemon_that_ended_is_noticed() {
        let mut browser = Browser::start(&settings()).unwrap();
        assert!(browser.check());
        browser.daemon.handle.shutdown().unwrap();
        deadline(async { while browser.next().await.is_some() {} }).await;
    }

    #[tokio::test]
    async fn an_announcement_shares_no_name_with_the_one_before_which_is_withdrawn() {
        let settings = settings();
        let mut browser = Browser::start(&settings).unwrap();
        let mut responder = Responder::start(&settings).unwrap();
        let mut seen = Vec::new();
        let mut withdrawn = None;
        responder
            .announce(4_711, &[("t".to_owned(), "x".to_owned())])
            .unwrap();
        deadline(async {
            while seen.len() < 2 || withdrawn.is_none() {
                match browser.next().await.unwrap() {
                    ServiceEvent::ServiceResolved(found) => {
                        seen.push((found.get_fullname().to_owned(), found.get_hostname().to_owned()));
                        if seen.len() == 1 {
                            responder
                                .announce(4_711, &[("t".to_owned(), "x".to_owned())])
                                .unwrap();
                        }
                    }
                    ServiceEvent::ServiceRemoved(_, name) => withdrawn = Some(name),
                    ServiceEvent::ServiceFound(..)
                    | ServiceEvent::SearchStarted(_)
                    | ServiceEvent::SearchStopped(_)
                    | _ => {}
                }
            }
        })
        .await;
        let [(instance, host), (new_instance, new_host)] = seen.as_slice() else {
            unreachable!("two were waited for: {seen:?}")
        };
        assert_ne!(instance, new_instance);
        assert_ne!(host, new_host);
        assert_eq!(withdrawn.as_ref(), Some(instance));
    }
}
