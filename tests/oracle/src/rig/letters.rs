//! Dead letters as an operator sees them: listed, shown, replayed.

use super::Rig;

impl Rig {
    /// The original bytes of each dead letter of a pipeline.
    #[must_use]
    pub fn letters(&self, pipeline: &str) -> Vec<Vec<u8>> {
        let (mut bodies, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("dead-letters?pipeline={pipeline}&limit=1000{after}");
            let Ok(answer) = self.daemon.ask("GET", &path) else { return bodies };
            if answer.status != 200 {
                return bodies;
            }
            let page = answer.json();
            let page = page["dead_letters"].as_array().cloned().unwrap_or_default();
            let Some(last) = page.last() else { return bodies };
            after = format!("&after={}", last["id"].as_str().unwrap_or_default().replace('@', "%40"));
            bodies.extend(page.iter().filter_map(|head| self.letter(head["id"].as_str()?)));
        }
    }

    fn letter(&self, id: &str) -> Option<Vec<u8>> {
        let answer = self.daemon.ask("GET", &format!("dead-letters/{}", id.replace('@', "%40"))).ok()?;
        if answer.status != 200 {
            return None;
        }
        Some(answer.json()["origin"]["body"].as_str()?.as_bytes().to_vec())
    }

    /// Replays every dead letter; how many there were.
    pub fn replay_all(&mut self) -> u64 {
        let mut replayed = 0;
        loop {
            let Ok(answer) = self.daemon.ask("GET", "dead-letters?limit=1000") else { return replayed };
            let ids: Vec<String> = answer.json()["dead_letters"]
                .as_array()
                .map(|page| page.iter().filter_map(|head| Some(head["id"].as_str()?.to_owned())).collect())
                .unwrap_or_default();
            if ids.is_empty() {
                return replayed;
            }
            for id in ids {
                let path = format!("dead-letters/{}/replay", id.replace('@', "%40"));
                match self.daemon.ask("POST", &path) {
                    Ok(answer) if answer.status == 200 => replayed += 1,
                    Ok(answer) => {
                        self.violations.push(format!("a letter is not replayed: {}", answer.text()));
                        return replayed;
                    }
                    Err(_) => return replayed,
                }
            }
        }
    }
}
