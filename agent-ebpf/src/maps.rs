//! The maps. All but the ring are pinned by userspace under their names here.

use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SkStorage};
use aya_ebpf::macros::btf_map;
use tidegate_ebpf::{
    Attempt, DestinationKey, Heartbeat, Maker, Namespace, QuotaKey, Rule, Settings, Token, Window,
    counter,
};

/// One value: how the programs are to decide.
#[btf_map]
pub static SETTINGS: Array<Settings, 1> = Array::new();

/// One value: is anybody there?
#[btf_map]
pub static HEARTBEAT: Array<Heartbeat, 1> = Array::new();

/// A bit for each port that any rule speaks of, and the listener's: what has
/// no bit here is nobody's business, at the price of one array lookup.
#[btf_map]
pub static PORTS: Array<u64, 1024> = Array::new();

#[btf_map]
pub static DESTINATIONS: LpmTrie<DestinationKey, Rule, 65536> = LpmTrie::new();

/// What each redirected socket was after.
#[btf_map]
pub static FLOWS: SkStorage<Attempt> = SkStorage::new();

/// Who made each raw socket.
#[btf_map]
pub static MAKERS: SkStorage<Maker> = SkStorage::new();

/// What each of the agent's own sockets is for; only userspace writes here.
#[btf_map]
pub static TOKENS: SkStorage<Token> = SkStorage::new();

/// The network namespaces seen, by cookie.
#[btf_map]
pub static NAMESPACES: HashMap<u64, Namespace, 65536> = HashMap::new();

/// Attempts told to the keeper, by who made them …
#[btf_map]
pub static PUBLISHED: HashMap<QuotaKey, u64, 65536, 1> = HashMap::new();

/// … and those that it is done with; only userspace writes here.
#[btf_map]
pub static SETTLED: HashMap<QuotaKey, u64, 65536, 1> = HashMap::new();

/// How much each cgroup has been told about lately: who makes noise must not
/// drown the others' events.
#[btf_map]
pub static WINDOWS: LruHashMap<u64, Window, 8192> = LruHashMap::new();

/// Kernel to keeper.
#[btf_map]
pub static EVENTS: RingBuf<u64, { 8 << 20 }> = RingBuf::new();

#[btf_map]
pub static COUNTERS: PerCpuArray<u64, { counter::COUNT as usize }> = PerCpuArray::new();

/// A map as the helpers want it.
#[inline(always)]
pub fn handle<M>(map: &'static M) -> *mut core::ffi::c_void {
    core::ptr::from_ref(map).cast_mut().cast()
}
