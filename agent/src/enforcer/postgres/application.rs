//! What a session calls itself. Its login's record tells the first name; each that the
//! server reports afterwards is told when it comes.

#[derive(Debug, Default)]
pub struct Application {
    known: Option<Box<str>>,
    untold: bool,
}

impl Application {
    /// What the server says of `application_name`.
    pub fn hear(&mut self, name: Option<&[u8]>) {
        let name = String::from_utf8_lossy(name.unwrap_or_default());
        self.untold |= self.known.as_deref().is_some_and(|known| *known != *name);
        if self.known.as_deref() != Some(&*name) {
            self.known = Some(name.into());
        }
    }

    /// The name, if it is another than was told.
    pub fn take(&mut self) -> Option<&str> {
        std::mem::take(&mut self.untold).then_some(self.known.as_deref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_when_it_is_another() {
        let mut application = Application::default();
        application.hear(Some(b"psql"));
        // The login's record has it.
        assert_eq!(application.take(), None);
        application.hear(Some(b"psql"));
        assert_eq!(application.take(), None);
        application.hear(Some(b"nightly"));
        assert_eq!(application.take(), Some("nightly"));
        assert_eq!(application.take(), None);
        application.hear(None);
        assert_eq!(application.take(), Some(""));
    }
}
