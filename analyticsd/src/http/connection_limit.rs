//! The places for connections of a listener: so many for all, and so many for each address that is no proxy's, so that nobody has all of them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::network::network;

/// How many connections each address has, for those that are counted. There are at most as many as there are places.
type Held = Mutex<HashMap<IpAddr, usize>>;

/// See the module.
pub(crate) struct ConnectionLimit {
    all: Arc<Semaphore>,
    per_address: Option<usize>,
    held: Arc<Held>,
}

/// The place of one connection, for as long as this is kept.
pub(crate) struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    _of_address: Option<OfAddress>,
}

struct OfAddress {
    held: Arc<Held>,
    address: IpAddr,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// All are taken.
    ForAnybody,
    /// The address has as many as one may have.
    ForThisAddress,
}

impl ConnectionLimit {
    pub(crate) fn new(all: usize, per_address: Option<usize>) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_address, held: Arc::default() }
    }

    /// A place for a connection of an address. Of a proxy, which speaks for many, connections are not counted.
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
    fn an_address_has_so_many_places_and_gets_them_back() {
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
        let places = ConnectionLimit::new(6, Some(2));
        let mut taken = vec![places.take(one, false).ok().unwrap(), places.take(one, false).ok().unwrap()];
        assert_eq!(places.take(one, false).err(), Some(LimitReached::ForThisAddress));
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        taken.extend([places.take(other, false).ok().unwrap(), places.take(neighbour, false).ok().unwrap()]);
        assert_eq!(
            places.take(other, false).err(),
            Some(LimitReached::ForThisAddress),
            "a network of IPv6 is one address"
        );
        taken.extend([places.take(one, true).ok().unwrap(), places.take(one, true).ok().unwrap()]);
        let third: IpAddr = "192.0.2.3".parse().unwrap();
        assert_eq!(places.take(third, false).err(), Some(LimitReached::ForAnybody));
        assert_eq!(places.held.lock().unwrap().len(), 2, "who gets no place is not remembered");
        taken.clear();
        assert!(places.take(one, false).is_ok());
        assert!(places.held.lock().unwrap().is_empty(), "nobody who is gone is remembered");
    }
}
