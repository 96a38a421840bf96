//! Limits the connections of a listener, in all and for each address that is not a proxy's, so that no client can take
//! them all.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::network::network;

/// The open connections of each counted address. The limit for all bounds this map.
type Held = Mutex<HashMap<IpAddr, usize>>;

/// See the module.
pub(crate) struct ConnectionLimit {
    all: Arc<Semaphore>,
    per_address: Option<usize>,
    held: Arc<Held>,
}

/// The permit of one connection. Dropping it returns the permit.
pub(crate) struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    _of_address: Option<OfAddress>,
}

struct OfAddress {
    held: Arc<Held>,
    address: IpAddr,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// The limit of the listener.
    ForAnybody,
    /// The limit of this address.
    ForThisAddress,
}

impl ConnectionLimit {
    pub(crate) fn new(all: usize, per_address: Option<usize>) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_address, held: Arc::default() }
    }

    /// A permit for a connection of an address. A proxy's connections are not counted, because it forwards requests of
    /// many clients.
    pub(crate) fn take(&self, address: IpAddr, is_proxy: bool) -> Result<ConnectionPermit, LimitReached> {
        let of_address = match self.per_address {
            Some(most) if !is_proxy => Some(self.take_of(network(address), most).ok_or(LimitReached::ForThisAddress)?),
            _ => None,
        };
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| LimitReached::ForAnybody)?;
        Ok(ConnectionPermit { _permit: permit, _of_address: of_address })
    }

    fn take_of(&self, address: IpAddr, most: usize) -> Option<OfAddress> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = held.entry(address).or_default();
        if *connections >= most {
            return None;
        }
        *connections += 1;
        Some(OfAddress { held: Arc::clone(&self.held), address })
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = held.get_mut(&self.address) {
            *connections -= 1;
            if *connections == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{ConnectionLimit, LimitReached};

    #[test]
    fn an_address_has_a_limited_number_of_connections_and_gets_them_back() {
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
        let places = ConnectionLimit::new(6, Some(2));
        let mut taken = vec![places.take(one, false).ok().unwrap(), places.take(one, false).ok().unwrap()];
        assert_eq!(places.take(one, false).err(), Some(LimitReached::ForThisAddress));
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        taken.extend([places.take(other, false).ok().unwrap(), places.take(neighbour, false).ok().unwrap()]);
        assert_eq!(
            places.take(other, false).err(),
            Some(LimitReached::ForThisAddress),
            "a network of IPv6 counts as one address"
        );
        taken.extend([places.take(one, true).ok().unwrap(), places.take(one, true).ok().unwrap()]);
        let third: IpAddr = "192.0.2.3".parse().unwrap();
        assert_eq!(places.take(third, false).err(), Some(LimitReached::ForAnybody));
        assert_eq!(places.held.lock().unwrap().len(), 2, "refused addresses are not remembered");
        taken.clear();
        assert!(places.take(one, false).is_ok());
        assert!(places.held.lock().unwrap().is_empty(), "closed connections are not remembered");
    }
}
