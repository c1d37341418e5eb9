//! What the company of a fleet buys and installs, as objects: profiles and classes of machines, and images.

use crate::{
    fleet::{FleetObject, named},
    hardware::{Class, classes},
};
use quarterdeck_model::kinds::{
    Image, ImageFormat, ImageSpec, MachineClass, MachineClassSpec, ObjectSelector, ServerProfile,
};

/// Images, the older before the newer: name, operating system, and what tells its checksum from others.
const IMAGES: [(&str, &str, char); 3] = [
    ("debian-12-20260801", "debian-12", 'a'),
    ("debian-12-20261101", "debian-12", 'b'),
    ("ubuntu-24-04-20261015", "ubuntu-24.04", 'c'),
];

/// All of them.
pub(crate) fn objects() -> impl Iterator<Item = FleetObject> + Send {
    let profiles = classes().iter().map(|class| FleetObject::Profile(Box::new(profile(class))));
    let machine_classes = classes().iter().map(|class| FleetObject::Class(machine_class(class)));
    profiles.chain(machine_classes).chain(IMAGES.iter().map(|it| FleetObject::Image(image(it))))
}

fn profile(class: &Class) -> ServerProfile {
    ServerProfile { metadata: named(class.name), spec: class.profile(), ..ServerProfile::default() }
}

fn machine_class(class: &Class) -> MachineClass {
    let label = ("hardware".to_owned(), class.name.to_owned());
    MachineClass {
        metadata: named(class.name),
        spec: MachineClassSpec {
            providers: Vec::new(),
            servers: ObjectSelector { match_labels: [label].into(), ..ObjectSelector::default() },
            minimum: Some(class.minimum()),
        },
        ..MachineClass::default()
    }
}

fn image((name, os, digit): &(&str, &str, char)) -> Image {
    Image {
        metadata: named(*name),
        spec: ImageSpec {
            url: format!("https://images.example.com/{name}.iso"),
            checksum: format!("sha256:{}", digit.to_string().repeat(64)),
            format: ImageFormat::Iso,
            os: Some((*os).to_owned()),
            architecture: Some("x86_64".to_owned()),
            ..ImageSpec::default()
        },
        ..Image::default()
    }
}
