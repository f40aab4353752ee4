//! The sessions of a worker, found by a key that is never used twice: an event
//! that the kernel reported for a session that is gone finds nothing.

#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    live: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Fits, with the side beside it, in an event's 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    generation: u32,
    /// Below 2³¹.
    slot: u32,
}

impl Key {
    /// The key and one bit more, as one number.
    pub fn pack(self, bit: bool) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot) << 1 | u64::from(bit)
    }

    pub fn unpack(packed: u64) -> (Self, bool) {
        let low = packed & u64::from(u32::MAX);
        let part = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        (Self { generation: part(packed >> 32), slot: part(low >> 1) }, low & 1 == 1)
    }
}

impl Key {
    /// Of something that stands in no slab, below 2³⁰: no slot has its
    /// generation.
    pub fn apart(number: u32) -> Self {
        Self { generation: u32::MAX, slot: number & (APART - 1) }
    }

    /// The number of one that is apart.
    pub fn number_apart(self) -> Option<u32> {
        (self.generation == u32::MAX && self.slot < APART).then_some(self.slot)
    }
}

/// What lies above is for a worker's own events.
const APART: u32 = 1 << 30;

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), live: 0 }
    }

    /// Makes a value that knows its key; when that fails nothing is kept.
    pub fn insert<E>(&mut self, make: impl FnOnce(Key) -> Result<T, E>) -> Result<Key, E> {
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let slot = self.free.last().copied().unwrap_or(next);
        let generation = self.slots.get(slot as usize).map_or(0, |found| found.generation);
        let key = Key { generation, slot };
        let value = Some(make(key)?);
        match self.slots.get_mut(slot as usize) {
            Some(found) => {
                found.value = value;
                self.free.pop();
            }
            None => self.slots.push(Slot { generation, value }),
        }
        self.live += 1;
        Ok(key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == key.generation)
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        self.live -= 1;
        // A slot whose generations are used up stays empty.
        if let Some(next) = slot.generation.checked_add(1).filter(|next| *next < u32::MAX) {
            slot.generation = next;
            self.free.push(key.slot);
        }
        Some(value)
    }

    pub fn len(&self) -> u32 {
        self.live
    }

    pub fn keys(&self) -> Vec<Key> {
        let key = |(slot, found): (usize, &Slot<T>)| {
            found.value.as_ref()?;
            Some(Key { generation: found.generation, slot: u32::try_from(slot).ok()? })
        };
        self.slots.iter().enumerate().filter_map(key).collect()
    }
}

#[cfg(test)]
mod tests;
